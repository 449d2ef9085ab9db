// Package draw puts boxes, labels and slates on frames in place: on the luma and
// chroma planes as they are, touching just the pixels that change.
//
// It promises: no byte outside the visible part of a plane is ever written,
// whatever boxes and texts come in; sizes follow the height of the picture, so
// that 360p and 4K look alike; once its glyphs are cached, drawing allocates
// nothing.
//
// Its caveat: an Artist is used by one goroutine at a time, and a decoder that
// still predicts from the frame must have been given a copy.
package draw
