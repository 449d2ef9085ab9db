package api

import (
	"slices"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Event is something that happened to a camera: exactly one field is set.
type Event struct {
	// Camera is the camera's whole state, sent when it changes and whenever
	// its figures were renewed (about once a second).
	Camera *Camera
	// Detections is the analysis of one frame.
	Detections *Detections
}

// Which detections a reader wants.
const (
	everyDetection  = "every"
	latestDetection = "latest"
	noDetections    = "none"
)

// mailboxSize is how many detections wait for a slow reader: about two seconds'
// worth of one camera.
const mailboxSize = 64

// mailbox holds what one reader has not been told yet. It is leaky: of each
// camera's state only the newest waits, of detections the newest mailboxSize
// (or the newest one of each camera); what is left out is counted and told.
// put never blocks.
type mailbox struct {
	wake chan struct{} // one token: there is something to take

	mu         sync.Mutex
	only       string // camera id, or "" for all
	detect     string
	cameras    []Camera
	detections []Detections
	missed     map[string]uint64

	states, finds *queue.Meter
}

// The names of a mailbox's halves among the box's queues.
const (
	cameraStates = "camera states to readers"
	cameraFinds  = "detections to readers"
)

// newMailbox is for a reader of so many cameras; close takes it out of q.
func newMailbox(only, detect string, cameras int, q *queue.Registry) *mailbox {
	m := &mailbox{wake: make(chan struct{}, 1), only: only, detect: detect, missed: make(map[string]uint64)}
	count := func(of func() int) func() int {
		return func() int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return of()
		}
	}
	m.states = q.Register(cameraStates, queue.Latest, cameras, count(func() int { return len(m.cameras) }))
	m.finds = q.Register(cameraFinds, queue.DropOldest, mailboxSize, count(func() int { return len(m.detections) }))
	return m
}

func (m *mailbox) close() {
	m.states.Close()
	m.finds.Close()
}

// put keeps e for the reader. Anybody may call it, at any time.
func (m *mailbox) put(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case e.Camera != nil && (m.only == "" || m.only == e.Camera.ID):
		m.putCamera(*e.Camera)
	case e.Detections != nil && (m.only == "" || m.only == e.Detections.Camera) && m.detect != noDetections:
		m.putDetections(*e.Detections)
	default:
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) putCamera(c Camera) {
	i := slices.IndexFunc(m.cameras, func(o Camera) bool { return o.ID == c.ID })
	if i < 0 {
		m.cameras = append(m.cameras, c)
		return
	}
	m.cameras[i] = c
}

func (m *mailbox) putDetections(d Detections) {
	drop := -1
	if m.detect == latestDetection {
		drop = slices.IndexFunc(m.detections, func(o Detections) bool { return o.Camera == d.Camera })
	} else if len(m.detections) >= mailboxSize {
		drop = 0
	}
	if drop >= 0 {
		m.missed[m.detections[drop].Camera]++
		m.finds.Dropped(1)
		m.detections = slices.Delete(m.detections, drop, drop+1)
	}
	m.detections = append(m.detections, d)
}

// take empties the mailbox: states first, then detections in order, the first
// of each camera telling how many were left out before it.
func (m *mailbox) take() ([]Camera, []Detections) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, d := m.cameras, m.detections
	m.cameras, m.detections = nil, nil
	for i := range d {
		d[i].Missed = m.missed[d[i].Camera]
		delete(m.missed, d[i].Camera)
	}
	return c, d
}
