package ingest

import "time"

// Unit is one frame of a peer's video.
type Unit struct {
	Keyframe bool
	// PTS is its RTP time, from the first unit given.
	PTS time.Duration
	// Captured is CLOCK_MONOTONIC in ns when its last packet came.
	Captured int64
	// Data is an H.264 access unit in Annex B or a VP8 frame, owned by the receiver.
	Data []byte
}
