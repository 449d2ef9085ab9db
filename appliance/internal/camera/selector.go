package camera

import (
	"slices"
	"sync"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"golang.org/x/sys/unix"
)

const (
	// step is the least distance of two pictures' times where one has to be
	// moved to keep their order.
	step = time.Millisecond
	// skew is how far a run's presentation times may be from the clock's before
	// they are set anew: a source's clock drifts slowly, a faulty one jumps.
	skew = 3 * time.Second
	// delays is how many of the last pictures the delay is told of.
	delays = 256
)

// selector forwards, of each codec, one run's units at a time: those of the
// newest run that has begun it with a keyframe. It puts all runs on one time line,
// which starts at the camera's own start and never goes back.
type selector struct {
	out   Output
	began time.Time

	publishing sync.Mutex // held from decision to Publish: units keep their order

	mu      sync.Mutex // never held while publishing: the control loop takes it
	lanes   [2]lane
	bases   map[uint64]time.Duration // by run: what is added to its times
	dropped uint64                   // units of a run that is not forwarded
	delay   []time.Duration          // ring: capture to output
	next    int
}

// lane is one codec's way out.
type lane struct {
	run  uint64 // 0: none yet; later runs have higher numbers
	last time.Duration
}

func newSelector(out Output) *selector {
	return &selector{out: out, began: time.Now(), bases: make(map[uint64]time.Duration)}
}

func laneOf(c link.Codec) int { return int(c - link.H264) }

// unit forwards u of a run, or drops it. It tells whether the run has just taken
// over the codec from another.
func (s *selector) unit(run uint64, u link.AccessUnit) (tookOver bool) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	ok, tookOver := s.admit(run, &u)
	if ok {
		s.out.Publish(u)
	}
	return tookOver
}

// admit decides about u and puts it on the time line.
func (s *selector) admit(run uint64, u *link.AccessUnit) (ok, tookOver bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.lanes[laneOf(u.Codec)]
	if run < l.run || (run > l.run && !u.Keyframe) {
		s.dropped++
		return false, false
	}
	tookOver = l.run != run
	l.run = run
	if u.Slate {
		// A slate has no time but the clock's; and it must not settle where the
		// times of the pictures that follow it in the same run are put.
		u.PTS = max(time.Since(s.began), l.last+step)
	} else if u.PTS = s.place(run, u.PTS); u.PTS <= l.last {
		s.bases[run] += l.last + step - u.PTS
		u.PTS = l.last + step
	}
	l.last = u.PTS
	if !u.Slate && u.Captured > 0 {
		s.note(time.Duration(monotonic() - u.Captured))
	}
	return true, tookOver
}

// at puts a time of a run on the camera's time line.
func (s *selector) at(run uint64, pts time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place(run, pts)
}

// place needs mu. A run's first time is now; the following keep their distance
// to it, unless they leave the clock behind.
func (s *selector) place(run uint64, pts time.Duration) time.Duration {
	now := time.Since(s.began)
	base, ok := s.bases[run]
	if at := base + pts; ok && at-now < skew && now-at < skew {
		return at
	}
	s.bases[run] = now - pts
	return now
}

func (s *selector) note(d time.Duration) {
	if len(s.delay) < delays {
		s.delay = append(s.delay, d)
		return
	}
	s.delay[s.next] = d
	s.next = (s.next + 1) % delays
}

// serves tells whether run's units are those forwarded, for all of want.
func (s *selector) serves(run uint64, want link.Want) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (!want.H264 || s.lanes[laneOf(link.H264)].run == run) &&
		(!want.VP8 || s.lanes[laneOf(link.VP8)].run == run)
}

// owner is the run whose units of a codec are forwarded; 0: none yet.
func (s *selector) owner(c link.Codec) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[laneOf(c)].run
}

// forget drops what is kept of a run that is over.
func (s *selector) forget(run uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bases, run)
}

// stats tells of the last pictures' delays, and the units dropped at hand-overs.
func (s *selector) stats() (Delay, uint64) {
	s.mu.Lock()
	d, dropped := slices.Clone(s.delay), s.dropped
	s.mu.Unlock()
	if len(d) == 0 {
		return Delay{}, dropped
	}
	slices.Sort(d)
	return Delay{Pictures: len(d), P50: d[len(d)/2], P95: d[len(d)*95/100], Max: d[len(d)-1]}, dropped
}

// monotonic is CLOCK_MONOTONIC in ns, the clock of AccessUnit.Captured.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot fail with these arguments
	}
	return ts.Nano()
}
