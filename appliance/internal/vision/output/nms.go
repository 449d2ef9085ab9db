package output

import (
	"cmp"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Candidates is how many of the best detections enter the suppression; the
// rest, of low score, are dropped. It bounds the work of a frame full of noise.
const Candidates = 1000

// Suppressor is class-aware non-maximum suppression with its scratch memory.
// The zero value is ready. It is not safe for concurrent use.
type Suppressor struct {
	// last kept detection of each class, and of each kept one the kept one
	// of its class before it; -1: none.
	last []int32
	prev []int32
}

// Suppress keeps, best score first, each detection whose overlap (IoU) with
// every better one of its class is at most iou, and at most limit of them
// (0: no limit). It works within dets, whose order it changes, and returns the
// kept part of it. An iou of 0 or less, or of 1 or more, keeps all: networks
// that need no suppression.
func (s *Suppressor) Suppress(dets []vision.Detection, iou float32, limit int) []vision.Detection {
	slices.SortStableFunc(dets, func(a, b vision.Detection) int { return cmp.Compare(b.Score, a.Score) })
	dets = dets[:min(len(dets), Candidates)]
	if limit <= 0 {
		limit = len(dets)
	}
	if !(iou > 0 && iou < 1) {
		return dets[:min(limit, len(dets))]
	}
	s.last, s.prev = s.last[:0], s.prev[:0]
	for i := 0; i < len(dets) && len(s.prev) < limit; i++ {
		d := dets[i]
		for len(s.last) <= d.Class {
			s.last = append(s.last, -1)
		}
		k := s.last[d.Class]
		for k >= 0 && !(dets[k].IoU(d.Box) > iou) {
			k = s.prev[k]
		}
		if k >= 0 {
			continue
		}
		kept := len(s.prev)
		s.prev = append(s.prev, s.last[d.Class])
		s.last[d.Class] = int32(kept)
		dets[kept] = d
	}
	return dets[:len(s.prev)]
}
