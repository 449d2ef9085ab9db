package vision

import "time"

// Box is an axis-aligned rectangle in pixels of the frame, edges not pixels:
// a box that covers a 10x10 frame is {0, 0, 10, 10}.
type Box struct {
	X0, Y0, X1, Y1 float32
}

// Width and Height are zero or more for a valid box.
func (b Box) Width() float32  { return b.X1 - b.X0 }
func (b Box) Height() float32 { return b.Y1 - b.Y0 }

// Area is the box's surface in square pixels; 0 for an empty box.
func (b Box) Area() float32 {
	if b.X1 <= b.X0 || b.Y1 <= b.Y0 {
		return 0
	}
	return b.Width() * b.Height()
}

// IoU is the intersection over union of two boxes, in [0,1].
func (b Box) IoU(o Box) float32 {
	w := min(b.X1, o.X1) - max(b.X0, o.X0)
	h := min(b.Y1, o.Y1) - max(b.Y0, o.Y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	inter := w * h
	union := b.Area() + o.Area() - inter
	if union <= 0 {
		return 0
	}
	return inter / union
}

// Clip returns the part of b inside a w x h frame.
func (b Box) Clip(w, h float32) Box {
	return Box{
		X0: min(max(b.X0, 0), w), Y0: min(max(b.Y0, 0), h),
		X1: min(max(b.X1, 0), w), Y1: min(max(b.Y1, 0), h),
	}
}

// Detection is one object that an analyser found in one frame.
type Detection struct {
	Box
	// Class indexes the labels of the analyser.
	Class int
	// Label is the name of Class ("person").
	Label string
	// Score is the analyser's confidence, in [0,1].
	Score float32
}

// Track is a detection followed from frame to frame. Its Score is that of the
// newest detection which reached the threshold: weaker ones carry a track on for a
// moment, and are nothing to show.
type Track struct {
	Detection
	// ID is unique within one run of one camera, counted from 1, never reused.
	ID int
	// Since is the time of the first frame that the object was seen in.
	Since time.Duration
	// Seen is the time of the last frame in which a detection supported the
	// track; Box may have been moved on from there.
	Seen time.Duration
}

// RGB is a packed 8-bit picture, three bytes a pixel in the order R, G, B,
// rows Stride bytes apart.
type RGB struct {
	Width, Height, Stride int
	Pix                   []byte
}

// Format is the memory layout of a Picture.
type Format int

// The picture formats of the road, both 4:2:0, 8 bit.
const (
	I420 Format = iota // three planes: Y, U, V
	NV12               // two planes: Y, interleaved UV
)

// Picture is a full-size frame in memory that somebody else owns: it must not
// be kept past the call that it was handed to. Chroma planes have
// (Width+1)/2 x (Height+1)/2 samples.
type Picture struct {
	Format        Format
	Width, Height int
	Planes        [3][]byte
	Stride        [3]int
}
