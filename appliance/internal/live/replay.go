package live

import "time"

const (
	// replayStep is how far apart, in RTP time, the frames of a group are that a
	// viewer is sent long after they were made: 1 ms. With their own times a player
	// would play them at their own pace, and stay as far behind.
	replayStep = clockRate / 1000
	// replayTime bounds how long a viewer may take to catch up.
	replayTime = 5 * time.Second
	// rewindEvery is how often a viewer whose decoder has lost the picture is sent
	// the camera's group again.
	rewindEvery = 2 * time.Second
)

// replay is how the frames of one run of packets are timed anew: those before
// number until follow each other by step, from stamp on. The zero value
// changes nothing.
type replay struct {
	after, until uint64 // numbers of frames
	first, step  uint32
}

func (p replay) stampOf(f *frame) uint32 {
	if f.number < p.after || f.number >= p.until {
		return f.stamp
	}
	return p.first + uint32(f.number-p.after)*p.step
}

// replay times the frames from key on, so that they lie between the last one
// that the viewer had, if it had any, and the newest. It fails when there is no
// room between the two; there is once another frame came.
func (r *rendition) replay(key *frame, last uint32, started bool) (replay, bool) {
	_, head := r.bounds()
	end := r.frame(head - 1)
	if end == nil {
		return replay{}, false
	}
	n := end.number - key.number
	step := uint32(replayStep)
	if started {
		gap := end.stamp - last // wraps as it should
		if gap > 1<<31 || uint64(gap) <= n {
			return replay{}, false
		}
		step = min(step, gap/uint32(n+1))
	}
	return replay{key.number, end.number, end.stamp - uint32(n)*step, step}, true
}

// rewind sends a viewer that has lost the picture the camera's last group
// again: a keyframe cannot be asked for. The caller holds mu.
func (v *viewer) rewind(now time.Time) {
	if v.waiting || v.at > 0 || !v.lost.Load() || now.Sub(v.rewound) < rewindEvery {
		return
	}
	r := v.rendition
	if !r.own.Load() {
		v.lost.Store(false)
		return
	}
	if n, ok := r.start(0, now); ok && v.begin(n, now) {
		v.rewound = now
	}
}
