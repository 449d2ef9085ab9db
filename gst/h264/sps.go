package h264

import (
	"fmt"
	"slices"
)

// sps is what of a sequence parameter set (clause 7.3.2.1) decides whether the
// stream can be handed on.
type sps struct {
	id          uint32
	profile     uint32
	chroma      uint32 // 1: 4:2:0
	depth       uint32 // bits of luma
	depthChroma uint32
	interlaced  bool
	// inOrder: pictures are shown in the order in which they come, for certain.
	inOrder bool
	// told: the set says that no picture is reordered, in so many words.
	told bool
	refs uint32 // reference frames
	// Where in the payload, in bits, the flag of the VUI is and, if there is a VUI,
	// that of its restrictions.
	vui, restriction int
}

// withChroma are the profiles whose sets tell the chroma format.
var withChroma = []uint32{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}

func parseSPS(nal []byte) (s sps, err error) {
	r := &bits{b: payload(nal, len(nal))}
	s.profile, s.chroma, s.depth, s.depthChroma = r.u(8), 1, 8, 8
	r.u(16) // constraints and level
	s.id = r.ue()
	if slices.Contains(withChroma, s.profile) {
		if s.chroma = r.ue(); s.chroma == 3 {
			r.u(1)
		}
		s.depth, s.depthChroma = 8+r.ue(), 8+r.ue()
		r.u(1)
		if r.flag() {
			r.scaling(s.chroma)
		}
	}
	r.ue() // frame numbers
	order := r.ue()
	switch order {
	case 0:
		r.ue()
	case 1:
		r.u(1)
		r.se()
		r.se()
		for n := min(r.ue(), 256); n > 0 && r.err == nil; n-- {
			r.se()
		}
	}
	s.refs = r.ue()
	r.u(1)
	r.ue()
	r.ue()
	if s.interlaced = !r.flag(); s.interlaced {
		r.u(1)
	}
	r.u(1)
	if r.flag() {
		for range 4 {
			r.ue()
		}
	}
	// The baseline profile has no B-frames (A.2.1); order count type 2 allows none
	// that is shown earlier than it comes (8.2.1.3).
	s.inOrder = s.profile == 66 || order == 2
	s.vui = r.at
	if r.flag() {
		r.video()
		s.restriction = r.at
		if frames, told := r.reordered(); told && frames == 0 {
			s.inOrder, s.told = true, true
		}
	}
	if r.err != nil || s.id > 31 || s.chroma > 3 || s.depth > 14 || s.depthChroma > 14 {
		return sps{}, fmt.Errorf("sequence parameter set: %w", errShort)
	}
	return s, nil
}

// scaling passes over scaling lists (7.3.2.1.1.1).
func (r *bits) scaling(chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// video passes over the VUI up to its restrictions of the stream (E.1.1).
func (r *bits) video() {
	if r.flag() && r.u(8) == 255 { // aspect ratio
		r.u(32)
	}
	if r.flag() { // overscan
		r.u(1)
	}
	if r.flag() { // video signal
		r.u(4)
		if r.flag() {
			r.u(24)
		}
	}
	if r.flag() { // chroma location
		r.ue()
		r.ue()
	}
	if r.flag() { // timing
		r.u(32)
		r.u(32)
		r.u(1)
	}
	hrd := false
	for range 2 {
		if r.flag() {
			hrd = true
			r.hrd()
		}
	}
	if hrd {
		r.u(1)
	}
	r.u(1) // pic_struct
}

// reordered reads how many frames may come before one that is shown ahead of
// them, max_num_reorder_frames of the VUI (E.1.1), if it is told.
func (r *bits) reordered() (frames uint32, told bool) {
	if !r.flag() {
		return 0, false
	}
	r.u(1)
	for range 4 {
		r.ue()
	}
	frames = r.ue()
	return frames, r.err == nil
}

// hrd passes over buffering parameters (E.1.2).
func (r *bits) hrd() {
	n := min(r.ue(), 31) + 1
	r.u(8)
	for range n {
		r.ue()
		r.ue()
		r.u(1)
	}
	r.u(20)
}
