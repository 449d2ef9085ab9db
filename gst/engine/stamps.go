package engine

import (
	"slices"
	"sync"
	"time"
)

// stamps gives the frames of a stream their times where its units are dated in the
// order of decoding: by AVI, which has no other dates, and by parsers that count
// the pictures of a bare stream. With B-frames such a date is not when the picture
// is shown, and two pictures of one chunk (MPEG-4's packed bitstream) share one. But
// the dates together are those at which pictures are shown: each frame that comes
// out takes the earliest that was not taken.
type stamps struct {
	mu      sync.Mutex
	waiting []time.Duration // sorted, without repeats
	last    time.Duration   // taken last
	taken   bool            // last is valid
	// undated units were seen; shown tells of units that are dated by when they
	// are shown, and differently from when they are decoded.
	undated, shown bool
}

// reorder is how many dates before its own a frame may take: B-frames in AVI come
// one picture early, and the pyramids of H.264 three. More than these are of units
// that no frame came of.
const reorder = 4

// far bounds the dates that wait, for a decoder that gives no frames.
const far = 512

// add notes a unit that the decoder is about to get.
func (s *stamps) add(pts, dts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case pts == none && dts != none:
		s.undated = true
	case pts != none && dts != none && pts != dts, pts == none && dts == none:
		s.shown = true
	}
	if s.shown {
		s.waiting = nil
		return
	}
	at := pts
	if at == none {
		at = dts
	}
	if at == none || s.taken && at <= s.last {
		return
	}
	i, found := slices.BinarySearch(s.waiting, at)
	if found {
		return
	}
	s.waiting = slices.Insert(s.waiting, i, at)
	if len(s.waiting) > far {
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}

// take is the time of a frame that the decoder dates pts (or none): its own word
// where the stream's dates are of showing.
func (s *stamps) take(pts time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown || len(s.waiting) == 0 {
		return pts
	}
	if pts != none {
		before, _ := slices.BinarySearch(s.waiting, pts)
		if before > reorder {
			s.waiting = slices.Delete(s.waiting, 0, before-reorder)
		}
	}
	if !s.undated {
		// Dates of showing, or nothing that tells: the decoder knows better.
		n, found := slices.BinarySearch(s.waiting, pts)
		if found {
			n++
		}
		s.waiting = slices.Delete(s.waiting, 0, n)
		return pts
	}
	at := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.last, s.taken = at, true
	return at
}
