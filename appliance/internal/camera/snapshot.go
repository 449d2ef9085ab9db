package camera

import (
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Snapshot is all there is to know of a camera at one moment. It holds no
// credentials. Pointers in it are to values that nobody changes any more.
type Snapshot struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Source string `json:"source"` // redacted
	State  State  `json:"state"`
	// Reason says in plain words why there is no picture, and what to do.
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"` // when State was entered
	// OfflineSince is the time from which there was no picture; zero while there is.
	OfflineSince time.Time `json:"offline_since,omitzero"`
	// RetryAt is when the source is tried again; zero while a worker is at it.
	RetryAt time.Time `json:"retry_at,omitzero"`

	Stream   link.Stream `json:"stream"`
	Analyser string      `json:"analyser,omitempty"`
	Runtime  string      `json:"runtime,omitempty"`
	Encoder  string      `json:"encoder,omitempty"`
	// Boxes is how viewers see them, link.BoxesBurned or link.BoxesClient, and
	// BoxesReason why that is not what the configuration asks for.
	Boxes       string `json:"boxes,omitempty"`
	BoxesReason string `json:"boxes_reason,omitempty"`

	// Ledger is the sum over all workers since the camera's start. Frames that a
	// dead worker had in hand are Failed.
	Ledger   link.Ledger `json:"ledger"`
	Restarts uint64      `json:"restarts"`
	LastExit *LastExit   `json:"last_exit,omitempty"`
	// Worker is nil while no live worker runs.
	Worker *Worker `json:"worker,omitempty"`
	// Slate: a slate worker runs.
	Slate bool `json:"slate"`

	// Wanted is which renditions have viewers.
	Wanted link.Want `json:"wanted"`
	// Delay of the last pictures, from the frame's capture to Output.
	Delay Delay `json:"delay"`
	// HandoverDrops counts units left out because another worker's were shown.
	HandoverDrops uint64 `json:"handover_drops"`
	// Detections of the last analysed frame; nil before the first.
	Detections *link.Detections `json:"detections,omitempty"`
}

// Worker is a running live worker.
type Worker struct {
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	// RSS is resident memory in bytes, CPU processor time used so far.
	RSS int64         `json:"rss_bytes"`
	CPU time.Duration `json:"cpu_ns"`
	// Means over the last second.
	Analyse     time.Duration `json:"analyse_ns"`
	Encode      time.Duration `json:"encode_ns"`
	SourceFPS   float64       `json:"source_fps"`
	AnalysedFPS float64       `json:"analysed_fps"`
}

// LastExit is how the last live worker ended.
type LastExit struct {
	At      time.Time     `json:"at"`
	Reason  string        `json:"reason"`
	Code    int           `json:"code"` // -1: by Signal, or it never ran
	Signal  string        `json:"signal,omitempty"`
	Runtime time.Duration `json:"runtime_ns"`
	Stderr  []string      `json:"stderr,omitempty"` // its last lines, redacted
}

// Delay is how long pictures took from capture to Output.
type Delay struct {
	Pictures int           `json:"pictures"` // how many it is told of
	P50      time.Duration `json:"p50_ns"`
	P95      time.Duration `json:"p95_ns"`
	Max      time.Duration `json:"max_ns"`
}

// Snapshot returns the latest; what changes with every frame is of this moment.
func (c *Camera) Snapshot() Snapshot {
	delay, drops := c.out.stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.latest
	s.Wanted, s.Detections = c.want, c.seen
	s.Delay, s.HandoverDrops = delay, drops
	return s
}

// publish makes the loop's view everybody's.
func (k *control) publish(now time.Time) {
	c := k.c
	c.mu.Lock()
	s := &c.latest
	s.State, s.Reason, s.Since, s.OfflineSince = k.state, k.reason, k.since, k.offline
	s.Stream, s.Analyser, s.Runtime, s.Encoder = k.status.Stream, k.status.Analyser, k.status.Runtime, k.status.Encoder
	if k.status.Boxes != "" {
		s.Boxes, s.BoxesReason = k.status.Boxes, k.status.BoxesReason
	}
	s.Ledger, s.Restarts, s.LastExit = k.finished, k.restarts, k.lastExit
	s.RetryAt, s.Worker, s.Slate = time.Time{}, nil, k.slate != nil
	if r := k.live; r != nil {
		m := &r.mail
		s.Ledger = add(k.finished, m.beat.Ledger)
		s.Worker = &Worker{
			PID: m.hello.PID, Version: m.hello.Version, Since: r.began, RSS: m.beat.RSS, CPU: m.beat.CPU,
			Analyse: m.beat.Analyse, Encode: m.beat.Encode, SourceFPS: m.beat.SourceFPS, AnalysedFPS: m.beat.AnalysedFPS,
		}
	} else if k.retryAt.After(now) && k.state != Ended && k.state != Stopped {
		s.RetryAt = k.retryAt
	}
	c.mu.Unlock()
	c.changes.publish(c.Snapshot())
}
