// Package media is the media worker's own main: the road that a frame takes from
// a source to the link.
//
//	source → decode ─┬─ gate → scale → model → tracker ──▶ detections
//	                 └─ draw ◀── tracks at this frame's time
//	                      └→ encoder(s) ──▶ access units
//
// It is the root of the worker process, as package app is of the control process:
// the one place that knows GStreamer, the model runtime and vision together.
//
// One road serves cameras and files. Live sources are leaky: a frame that
// finds the analysis busy is dropped and counted, and a picture never waits for the
// model longer than its budget. Files are blocking: every frame is analysed
// and drawn with its own boxes. Either way each decoded frame ends in exactly one
// column of the ledger.
//
// A session's road ends in documents instead: for each frame the JSON that its peer
// asked for, pictures in base64 included, beside the video of one output. Decoding,
// analysis, drawing and writing are a stage each, and what the peer has room for
// (its credit) holds back the stage that draws.
package media
