package upload

import (
	"time"

	"github.com/watchpost/watchpost/state"
)

// Removed is the status of the last Info that Watch delivers of an upload: it was
// removed or has expired. No record has it.
const Removed state.UploadStatus = "removed"

// Spec is what a client says of a file before its bytes.
type Spec struct {
	// ID that the upload is to have, as state.NewUploadID makes them; "": one is made.
	ID string
	// Name of the file, for display. It is cleaned: what is in front of the last
	// slash goes, and so do control characters.
	Name string
	// Size in bytes; -1: told later (SetSize).
	Size int64
	// SHA256 in hex that the whole file must have; "": any.
	SHA256 string
	// ChunkSize of the data channel's road, bytes; 0: none.
	ChunkSize int64
	Metadata  map[string]string
	// Settings of the analysis; nil: the box's defaults.
	Settings *state.Settings
	// NoJob: only store the bytes.
	NoJob bool
}

// Info is an upload at one moment. All of it is durable. Have, Metadata and
// Settings are shared: they are never changed, and must not be.
type Info struct {
	// Upload without HashState and HashedTo.
	state.Upload
	// Contiguous bytes from 0 on without a gap, and all Received ones.
	Contiguous, Received int64
	// Rate of the last seconds, bytes per second; 0: nothing comes.
	Rate float64
	// ETA is the time until the last byte at this rate; 0: not known.
	ETA time.Duration
}
