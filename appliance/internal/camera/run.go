package camera

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// run is one worker's run, from before its process to its end.
type run struct {
	id    uint64 // later runs have higher ones
	slate bool
	text  string // of a slate run
	began time.Time
	mail  mail // under Camera.mu
	seen  uint64

	// The rest is the control loop's.
	proc       Process // nil until the process runs
	want       link.Want
	throttle   *link.Throttle
	stopping   bool
	verdict    event  // decided here, before the process's end: stalled or failed
	reason     string // of the verdict
	wished     bool   // the verdict is its operator's
	playing    time.Time
	decoded    uint64
	progress   time.Time // when decoded last grew
	killAt     time.Time // zero: not yet
	leftBehind bool      // its source failed: it is to exit by itself

	publication *Publication // whose pictures it plays; nil: its source is another
}

// mail is what came of a run since its start: the latest of each report. It does
// not grow, whatever a worker sends.
type mail struct {
	rev    uint64 // counts the changes
	proc   Process
	hello  link.Hello
	status link.Status
	beat   link.Beat
	played bool // it played at some time
	done   bool
	exit   *link.Exit
}

// spawn starts a worker on a goroutine of its own, since to fork takes
// milliseconds on a busy board, and stays with it to its end.
func (k *control) spawn(ctx context.Context, start link.Start, slate bool) *run {
	k.lastRun++
	r := &run{id: k.lastRun, slate: slate, text: start.Slate, began: time.Now(), progress: time.Now()}
	if !slate {
		r.publication = k.publication
	}
	c := k.c
	k.workers.Go(func() {
		p, err := c.deps.Spawn(ctx, start, func(m link.Message) { c.report(r, m) }, c.scrub.clean)
		exit := link.Exit{Err: err, Code: -1}
		if err == nil {
			c.post(r, func(m *mail) { m.proc = p })
			if f, ok := p.(Feeder); ok && r.publication != nil {
				r.publication.feed(f)
			}
			exit = p.Wait()
		}
		c.post(r, func(m *mail) { m.exit = &exit })
	})
	return r
}

func (c *Camera) post(r *run, change func(*mail)) {
	c.mu.Lock()
	change(&r.mail)
	r.mail.rev++
	c.mu.Unlock()
	c.nudge()
}

// report takes one message of a run's worker, on that worker's goroutine.
func (c *Camera) report(r *run, m link.Message) {
	switch v := m.Value.(type) {
	case link.AccessUnit:
		if c.out.unit(r.id, v) {
			c.nudge() // the run that it took over from is done
		}
		return
	case link.Detections:
		if !r.slate {
			c.detected(r, v)
		}
		return
	}
	if m.Kind == link.KindRefresh {
		if r.publication != nil {
			r.publication.refresh()
		}
		return
	}
	c.post(r, func(p *mail) {
		switch v := m.Value.(type) {
		case link.Hello:
			p.hello = v
		case link.Status:
			p.status = v
			p.played = p.played || v.State == link.Playing
		case link.Beat:
			p.beat = v
		case link.Done:
			p.beat.Ledger, p.done = v.Ledger, true
		}
	})
}

func (c *Camera) detected(r *run, d link.Detections) {
	d.PTS = c.out.at(r.id, d.PTS)
	c.mu.Lock()
	c.seen = &d
	c.mu.Unlock()
	c.detections.publish(d)
}

// undetect forgets the objects of a picture that is gone.
func (c *Camera) undetect() {
	c.mu.Lock()
	c.seen = nil
	c.mu.Unlock()
}
