// Package vision is what Watchpost makes of pixels: the shared vocabulary
// (boxes, detections, tracks, pictures) here, and one package below it for each
// step: motion, model, output, track, draw.
//
// Nothing in it starts a goroutine, opens a socket or touches GStreamer; all of
// it is called from one frame's road and returns.
package vision
