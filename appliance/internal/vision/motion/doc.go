// Package motion finds what moves in front of a camera that stands still: a
// background model on the luma plane, the regions that differ from it, and the
// gate that spares the detector frames in which nothing moves.
//
// It promises: a change of the light is not motion, time constants hold at any
// frame rate, and a frame costs a fraction of a millisecond, as the model works
// on a picture of about 160 pixels width.
//
// Its caveat: something that covers most of the view within one frame looks like
// a change of the light and is taken for one.
package motion
