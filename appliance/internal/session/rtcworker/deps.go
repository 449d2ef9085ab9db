package rtcworker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Process is a session's media worker. Nothing but Wait blocks. Media tells whether
// there was room for the picture, and MediaBytes how much of them waits for it; Stop asks the worker to finish and kills it where it
// does not; Kill ends it at once.
type Process interface {
	Select(link.Select)
	Credit(link.Credit)
	Media(link.AccessUnit) (ok bool)
	MediaBytes() int
	End()
	Keyframe(link.Codec)
	Stop()
	Kill()
	Wait() link.Exit
	PID() int
}

// Spawn starts a session's worker. handle is called with its reports, one at a time and
// in order. ctx is for the start alone. An error that is a link.Fault is judged as if
// the worker had said it.
type Spawn func(ctx context.Context, start link.Start, handle func(link.Message)) (Process, error)

// Loop is a control loop as the stall meter sees it: Ticked is called for each Tick
// received, Enter around each round of work, Stop when the loop has ended.
type Loop interface {
	Tick() <-chan time.Time
	Ticked()
	Enter() (done func())
	Stop()
}

// Receiving is what a session wants to know of the uploads on its channel. The
// functions return at once and may be called from any goroutine, until Receive returns.
type Receiving struct {
	// Name of a file that is not announced.
	Name string
	// Heard is called for every message, keep-alives included, with its length in bytes.
	Heard func(bytes int)
	// Begun is called when an upload is begun, or gone on with, before any of its bytes.
	// Announced ones are the client's to resume; others are of no use to anybody
	// but the session.
	Begun func(id string, announced bool)
	// Complete is called once an upload is wholly there; path is where it can be read.
	Complete func(id, path string)
	// Failed is called when nothing comes of an upload any more. What ends the channel is
	// told by Receive's error instead.
	Failed func(id string, err error)
}

// Configuration is a request's workflow_configuration: either a workflow, or the name
// of one that is stored on the box.
type Configuration struct {
	workflow.Request
	Workspace, Workflow string
}

// Named tells whether the workflow is named, not given.
func (c Configuration) Named() bool { return c.Workflow != "" }

// Deps are what sessions are made of. Loops, Queues and Registerer may be nil.
type Deps struct {
	Log *slog.Logger
	// Peers makes the connections; it is not closed here.
	Peers *peer.Factory
	Spawn Spawn
	// Receive takes files from an upload channel until the peer closes it, ctx ends, or
	// the peer breaks the protocol: its error says how, for the peer to read.
	Receive func(ctx context.Context, ch session.Channel, o Receiving) error
	// Discard removes an upload that nobody needs any more. It may wait; an upload that is
	// gone already is no error.
	Discard func(id string)
	// Workflow compiles, or finds and compiles. A *workflow.Refusal is told to the client
	// as it is; another error is the box's.
	Workflow func(ctx context.Context, c Configuration) (*workflow.Graph, error)
	// Prepare fills in what the box knows: the model's place for its name, decoders. It may
	// wait. nil: nothing is filled in.
	Prepare    func(*link.Start) error
	Loops      func(name string) Loop
	Queues     *queue.Registry
	Registerer prometheus.Registerer
}

// ICEServer is a STUN or TURN server.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// Config of the sessions. The zero value of a field is the default named.
type Config struct {
	// Most sessions at once (8).
	Most int
	// Window is how many frames a session that is not realtime may be ahead of its
	// client's acknowledgements (20).
	Window int
	// QueueBytes is what the documents and camera pictures of all sessions together may
	// take of this process's memory while they wait (96 MiB).
	QueueBytes int
	// Silence is how long a session may be without a sign of life (60 s).
	Silence time.Duration
	// Offline: no STUN or TURN server is ever contacted, neither the box's nor a client's.
	Offline bool
	// Gzip compresses documents.
	Gzip bool
	// JPEGQuality of pictures in documents, 1 to 100 (85).
	JPEGQuality int
	// ICEServers are used for every session, beside those that its client names.
	ICEServers []ICEServer
	// Setup is what a peer has from the answer to being connected (30 s).
	Setup time.Duration
}

func (c Config) withDefaults() Config {
	if c.Most <= 0 {
		c.Most = 8
	}
	if c.Window <= 0 {
		c.Window = 20
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 96 << 20
	}
	if c.Silence <= 0 {
		c.Silence = time.Minute
	}
	if c.JPEGQuality <= 0 {
		c.JPEGQuality = 85
	}
	if c.Setup <= 0 {
		c.Setup = 30 * time.Second
	}
	return c
}

func (d Deps) check() error {
	switch {
	case d.Log == nil:
		return errors.New("rtcworker: Deps.Log is missing")
	case d.Peers == nil:
		return errors.New("rtcworker: Deps.Peers is missing")
	case d.Spawn == nil || d.Receive == nil || d.Discard == nil || d.Workflow == nil:
		return errors.New("rtcworker: Deps.Spawn, Receive, Discard or Workflow is missing")
	}
	return nil
}
