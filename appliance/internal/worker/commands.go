package worker

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// mediaQueue is how many pictures of a peer's track may wait for the worker to
// read them: some seconds, in which it comes up.
const mediaQueue = 128

// outbox holds what a worker is still to be told. It is bounded by its shape:
// of each command only the latest matters, so a slot for each is enough, and
// whoever gives a command never waits. Of a peer's pictures a bounded number waits.
type outbox struct {
	mu       sync.Mutex
	start    *link.Start
	want     *link.Want
	throttle *link.Throttle
	grow     *link.Grow
	pause    *link.Pause
	selected *link.Select
	credit   *link.Credit
	media    []link.AccessUnit // in order, at most mediaQueue
	end      bool
	keyframe [2]bool // by codec: H264, VP8
	stop     bool
	wake     chan struct{} // capacity 1
}

func (o *outbox) put(change func(*outbox)) {
	o.mu.Lock()
	change(o)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take empties the outbox into messages, in the order that makes sense to a
// worker: first what to do, last that it is over.
func (o *outbox) take() []link.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []link.Message
	if o.start != nil {
		out = append(out, link.Message{Kind: link.KindStart, Value: *o.start})
	}
	if o.want != nil {
		out = append(out, link.Message{Kind: link.KindWant, Value: *o.want})
	}
	if o.throttle != nil {
		out = append(out, link.Message{Kind: link.KindThrottle, Value: *o.throttle})
	}
	if o.grow != nil {
		out = append(out, link.Message{Kind: link.KindGrow, Value: *o.grow})
	}
	if o.pause != nil {
		out = append(out, link.Message{Kind: link.KindPause, Value: *o.pause})
	}
	if o.selected != nil {
		out = append(out, link.Message{Kind: link.KindSelect, Value: *o.selected})
	}
	if o.credit != nil {
		out = append(out, link.Message{Kind: link.KindCredit, Value: *o.credit})
	}
	for _, u := range o.media {
		out = append(out, link.Message{Kind: link.KindMedia, Value: u})
	}
	if o.end {
		out = append(out, link.Message{Kind: link.KindEnd})
	}
	for i, codec := range [...]link.Codec{link.H264, link.VP8} {
		if o.keyframe[i] {
			out = append(out, link.Message{Kind: link.KindKeyframe, Value: link.Keyframe{Codec: codec}})
		}
	}
	if o.stop {
		out = append(out, link.Message{Kind: link.KindStop})
	}
	o.grow, o.pause, o.selected, o.credit, o.media, o.end = nil, nil, nil, nil, nil, false
	o.start, o.want, o.throttle, o.keyframe, o.stop = nil, nil, nil, [2]bool{}, false
	return out
}

// Want tells the worker which renditions somebody watches.
func (w *Worker) Want(v link.Want) { w.out.put(func(o *outbox) { o.want = &v }) }

// Throttle limits the worker's analysis.
func (w *Worker) Throttle(v link.Throttle) { w.out.put(func(o *outbox) { o.throttle = &v }) }

// Grow tells the worker how much of its file has arrived.
func (w *Worker) Grow(v link.Grow) { w.out.put(func(o *outbox) { o.grow = &v }) }

// Pause has the worker's analysis of a file rest, or go on.
func (w *Worker) Pause(v link.Pause) { w.out.put(func(o *outbox) { o.pause = &v }) }

// Select tells a session's worker which outputs to send from now on.
func (w *Worker) Select(v link.Select) { w.out.put(func(o *outbox) { o.selected = &v }) }

// Credit tells a session's worker how far results may run ahead.
func (w *Worker) Credit(v link.Credit) { w.out.put(func(o *outbox) { o.credit = &v }) }

// Media gives the worker the next picture of the peer's track, and tells whether
// there was room for it. Where there was not, pictures up to the next keyframe are
// of no use: the peer should be asked for one.
func (w *Worker) Media(u link.AccessUnit) (ok bool) {
	w.out.put(func(o *outbox) {
		if ok = len(o.media) < mediaQueue; ok {
			o.media = append(o.media, u)
		}
	})
	return ok
}

// End tells the worker that the peer's track is over.
func (w *Worker) End() { w.out.put(func(o *outbox) { o.end = true }) }

// Keyframe asks for a keyframe of one rendition; requests that the worker has
// not read yet are one.
func (w *Worker) Keyframe(c link.Codec) {
	if c.Valid() {
		w.out.put(func(o *outbox) { o.keyframe[c-link.H264] = true })
	}
}

// Stop asks the worker to finish what it has in hand and exit. If it has not
// after Config.Grace, it is killed. Stop does not wait: Wait does.
func (w *Worker) Stop() {
	w.out.put(func(o *outbox) { o.stop = true })
	w.stopOnce.Do(func() { close(w.stopping) })
}

// write sends what comes into the outbox until the worker is gone.
func (w *Worker) write() {
	for {
		select {
		case <-w.out.wake:
		case <-w.exited:
			return
		}
		for _, m := range w.out.take() {
			w.conn.SetWriteDeadline(time.Now().Add(w.cfg.BeatTimeout))
			err := w.conn.Send(m.Kind, m.Value)
			switch {
			case err == nil:
			case errors.Is(err, os.ErrDeadlineExceeded):
				w.end(link.ErrDeaf)
				return
			case errors.Is(err, link.ErrProtocol):
				w.end(err) // a mistake of this process: the worker cannot be told
				return
			default:
				return // it closed its end; the reader deals with that
			}
		}
	}
}
