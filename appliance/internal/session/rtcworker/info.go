package rtcworker

import (
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// The states of a session, as they are told.
const (
	StateConnecting = "connecting" // answered; the peer is not connected yet
	StateWaiting    = "waiting"    // connected; the source is not known yet, or its file not whole
	StateRunning    = "running"    // the worker was started
	StateEnding     = "ending"     // the peer gets its last message
)

// The kinds of sources, as they are told.
const (
	SourceUnknown = "unknown" // the offer leaves it open, and nothing came yet
	SourceTrack   = "track"
	SourceUpload  = "upload"
	SourceRTSP    = "rtsp"
	SourceMJPEG   = "mjpeg"
)

// Info is a session at one moment.
type Info struct {
	ID     string
	Source string
	State  string
	// Reason is why there are no frames, in one line; empty: there are, or none is known.
	Reason string
	Since  time.Time
	// Peer is the other side's address, once connected.
	Peer string
	// Frames handled; Documents sent and LeftOut for a slow reader; Bytes of documents sent.
	Frames, Documents, LeftOut, Bytes uint64
	// Video is the codec that the peer is sent, "h264" or "vp8"; empty: no video.
	Video string
	// PID of the worker; 0: there is none.
	PID int
	// Ledger is the worker's, as of its last sign of life; nil: there was none.
	Ledger *link.Ledger
}
