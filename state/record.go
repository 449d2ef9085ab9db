package state

import (
	"encoding/json"
	"time"
)

// Extent is the half-open range [From, To) of bytes in a file.
type Extent struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// UploadStatus is how far an upload is.
type UploadStatus string

const (
	UploadReceiving UploadStatus = "receiving" // bytes are missing
	UploadChecking  UploadStatus = "checking"  // all bytes are there; their hash is being made
	UploadComplete  UploadStatus = "complete"  // all bytes are there, and their hash is the one wanted
	UploadRefused   UploadStatus = "refused"   // Problem says why; the bytes are dropped
)

// Upload is what is known of one file that a client sends. Times are UTC.
type Upload struct {
	ID     string       `json:"id"`             // see NewUploadID
	Name   string       `json:"name"`           // as the client said, cleaned to a file name of at most 255 bytes; for people, never a path
	Size   int64        `json:"size"`           // bytes; -1: not known yet
	Have   []Extent     `json:"have,omitempty"` // what is on disk: merged, sorted
	Status UploadStatus `json:"status"`

	SHA256     string `json:"sha256,omitempty"`      // hex, of the whole file, once complete
	WantSHA256 string `json:"want_sha256,omitempty"` // hex, as the client gave it, or empty
	HashState  []byte `json:"hash_state,omitempty"`  // of a sha256 over the first HashedTo bytes, so that a restart does not read them again
	HashedTo   int64  `json:"hashed_to,omitempty"`

	ChunkSize int64             `json:"chunk_size,omitempty"` // bytes, of the data channel's road; 0: none
	Metadata  map[string]string `json:"metadata,omitempty"`   // tus metadata, content type
	Settings  *Settings         `json:"settings,omitempty"`   // analysis asked for with the upload; nil: the box's default job
	NoJob     bool              `json:"no_job,omitempty"`     // the client wants the bytes stored, no analysis

	Created   time.Time `json:"created,omitzero"`
	Updated   time.Time `json:"updated,omitzero"`
	Completed time.Time `json:"completed,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Problem   string    `json:"problem,omitempty"` // why it was refused
}

// Settings are what a job is to do.
type Settings struct {
	Model     string   `json:"model,omitempty"` // installed model's name, "motion", or empty: the box's default
	Threshold float32  `json:"threshold,omitempty"`
	Classes   []string `json:"classes,omitempty"`
	Gate      bool     `json:"gate,omitempty"`
	MaxFPS    float64  `json:"max_fps,omitempty"`
	NoVideo   bool     `json:"no_video,omitempty"`
	Track     int      `json:"track,omitempty"` // which video track of the file, 0 is the first
}

// JobStatus is how far a job is.
type JobStatus string

const (
	JobWaiting  JobStatus = "waiting" // for bytes; Fault may hold a remark
	JobQueued   JobStatus = "queued"
	JobRunning  JobStatus = "running"
	JobPaused   JobStatus = "paused"
	JobDone     JobStatus = "done"
	JobFailed   JobStatus = "failed"
	JobCanceled JobStatus = "canceled"
	JobSetAside JobStatus = "set_aside" // it killed its worker twice
)

// Job is one analysis of one upload. Times are UTC.
type Job struct {
	ID       string    `json:"id"`     // see NewJobID
	Upload   string    `json:"upload"` // the upload's id
	Name     string    `json:"name"`   // the upload's name, for people
	Status   JobStatus `json:"status"`
	Priority int       `json:"priority,omitempty"` // -100 to 100, higher first
	Settings Settings  `json:"settings,omitzero"`

	Attempts  int       `json:"attempts,omitempty"` // starts of a worker
	Deaths    int       `json:"deaths,omitempty"`   // workers that died without a word
	NotBefore time.Time `json:"not_before,omitzero"`
	Retries   int       `json:"retries,omitempty"` // automatic ones since the last that a user asked for
	// Attempt is the one under way: written before its worker starts, cleared
	// when its end was seen. Where an opening box finds it, the box went down in it.
	Attempt *Attempt `json:"attempt,omitempty"`
	// Restarts and Reboots count, in a row, the attempts without progress that
	// ended with the box's process and with the whole machine.
	Restarts int `json:"restarts,omitempty"`
	Reboots  int `json:"reboots,omitempty"`
	// Streamed: it began while its file was arriving. It is always read as a
	// stream then, so that a restart gives the same frames.
	Streamed bool `json:"streamed,omitempty"`

	FaultKind string          `json:"fault_kind,omitempty"`
	Fault     string          `json:"fault,omitempty"`
	Outcome   json.RawMessage `json:"outcome,omitempty"` // the summary, once done
	Results   uint64          `json:"results,omitempty"` // lines of the log, once an attempt ended
	// ResultsBytes is how long those lines are.
	ResultsBytes int64 `json:"results_bytes,omitempty"`

	Created time.Time `json:"created,omitzero"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Attempt is one run of a job's worker that has begun.
type Attempt struct {
	Boot    string    `json:"boot,omitempty"` // the machine's boot id then
	Started time.Time `json:"started,omitzero"`
	Bytes   int64     `json:"bytes,omitempty"` // whole lines of the results' log then, by which progress is told
}

// Workflow is a workflow that is kept under a name. Times are UTC.
type Workflow struct {
	Workspace string `json:"workspace"`
	ID        string `json:"id"` // within its workspace; its key is WORKSPACE/ID
	// Specification is the workflow_specification, a JSON object.
	Specification json.RawMessage `json:"specification"`

	Created time.Time `json:"created,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
}
