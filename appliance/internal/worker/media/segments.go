package media

import "time"

// A file's analysis is cut into segments, each with an encoder of its own, so that
// it can go on at the end of any. Where they end depends on the frames alone: a
// number of frames, which bounds what is done twice after a crash, or of seconds,
// where frames are few; and some frames in any case, for an encoder's start is not
// free.
const (
	segmentFrames = 250
	segmentTime   = 10 * time.Second
	segmentLeast  = 50
)

// segments tells frames that are the last of their segment. Every frame of the
// file has to pass, in order.
type segments struct {
	most, least int // frames
	frames      int // of the present one so far
	begun       time.Duration
}

// newSegments makes them of at most so many frames; 0: segmentFrames.
func newSegments(most int) *segments {
	if most <= 0 {
		most = segmentFrames
	}
	return &segments{most: most, least: min(segmentLeast, most)}
}

func (s *segments) ends(pts time.Duration) bool {
	if s.frames == 0 {
		s.begun = pts
	}
	s.frames++
	if s.frames < s.most && (s.frames < s.least || pts-s.begun < segmentTime) {
		return false
	}
	s.frames = 0
	return true
}
