package job

import "slices"

// maxIndex bounds the index of one log: 16 KiB.
const maxIndex = 1024

// place is where a line begins.
type place struct {
	seq    uint64
	offset int64
}

// index knows where some lines of a log begin, so that a reader need not count
// them from the first. It keeps at most maxIndex places: when it is full every
// second one goes, and from then on they lie twice as far apart.
type index struct {
	places []place // ascending; line 1 at offset 0 goes without saying
	apart  uint64  // least distance in lines; 0 counts as 16
}

// note adds a place, unless one is near.
func (x *index) note(seq uint64, offset int64) {
	x.apart = max(x.apart, 16)
	if seq <= x.apart {
		return
	}
	i, there := slices.BinarySearchFunc(x.places, seq, func(p place, s uint64) int {
		switch {
		case p.seq < s:
			return -1
		case p.seq > s:
			return 1
		}
		return 0
	})
	if there || i > 0 && seq-x.places[i-1].seq < x.apart || i < len(x.places) && x.places[i].seq-seq < x.apart {
		return
	}
	x.places = slices.Insert(x.places, i, place{seq, offset})
	if len(x.places) < maxIndex {
		return
	}
	kept := x.places[:0]
	for i, p := range x.places {
		if i%2 == 1 {
			kept = append(kept, p)
		}
	}
	x.places, x.apart = kept, x.apart*2
}

// find returns the nearest known place at or before a line.
func (x *index) find(seq uint64) place {
	i, there := slices.BinarySearchFunc(x.places, seq, func(p place, s uint64) int {
		if p.seq < s {
			return -1
		}
		if p.seq > s {
			return 1
		}
		return 0
	})
	switch {
	case there:
		return x.places[i]
	case i > 0:
		return x.places[i-1]
	}
	return place{1, 0}
}
