package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

const (
	eventStreams   = 64               // streams open at a time; each holds a goroutine and a mailbox
	eventKeepAlive = 10 * time.Second // silence after which a sign of life is sent
	eventDeadline  = 10 * time.Second // a reader that takes nothing for so long is gone
	eventPace      = 200 * time.Millisecond
	eventLife      = time.Hour // then the reader comes back, and is asked for its sign-in again
)

// feed serves the event streams.
type feed struct {
	cameras   Cameras
	slots     chan struct{}
	queues    *queue.Registry
	full      *queue.Meter
	keepAlive time.Duration
}

func newFeed(c Cameras, q *queue.Registry) *feed {
	f := &feed{cameras: c, slots: make(chan struct{}, eventStreams), queues: q, keepAlive: eventKeepAlive}
	f.full = q.Register("event streams", queue.Refuse, eventStreams, func() int { return len(f.slots) })
	return f
}

// reserve takes one of the places for a stream; call release when it ended.
func (f *feed) reserve() (release func(), err error) {
	select {
	case f.slots <- struct{}{}:
		return func() { <-f.slots }, nil
	default:
		f.full.Dropped(1)
		return nil, Explain(ErrUnavailable, fmt.Sprintf("%d event streams are open already: close some pages of this box.", eventStreams))
	}
}

// serve writes the cameras' events to w. First it tells the state of each camera.
func (f *feed) serve(ctx context.Context, w http.ResponseWriter, only, detect string) {
	box := newMailbox(only, detect, len(f.cameras.List()), f.queues)
	defer box.close()
	stop := f.cameras.Watch(box.put)
	defer stop()
	pace := eventPace
	if detect == everyDetection {
		pace = 0
	}
	f.run(ctx, w, tale{
		wake: box.wake,
		pace: pace,
		begin: func(s *stream) {
			for _, c := range f.cameras.List() {
				if only == "" || only == c.ID {
					s.event("camera", c.whole())
				}
			}
		},
		more: func(s *stream) bool {
			cameras, detections := box.take()
			for _, c := range cameras {
				s.event("camera", c.whole())
			}
			for _, d := range detections {
				s.event("detections", d.whole())
			}
			return true
		},
	})
}

// tale is what one event stream tells.
type tale struct {
	wake  <-chan struct{}    // a token: there is more to tell
	pace  time.Duration      // least time between two writes; 0: none
	begin func(*stream)      // the present state, told first
	more  func(*stream) bool // what is new; false: the stream is to end after it
}

// run writes the tale to w until ctx ends, the reader goes, or the stream's
// life is over.
func (f *feed) run(ctx context.Context, w http.ResponseWriter, t tale) {
	s := &stream{w: w, control: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy must not collect the events
	// The server's read deadline would otherwise end the request; not every
	// writer knows deadlines (tests), and without one nothing is lost.
	_ = s.control.SetReadDeadline(time.Time{})

	s.text("retry: 1000\n\n")
	t.begin(s)
	if s.flush() != nil {
		return
	}

	silence := time.NewTicker(f.keepAlive)
	defer silence.Stop()
	life := time.NewTimer(eventLife)
	defer life.Stop()
	for {
		goesOn := true
		select {
		case <-ctx.Done():
			return
		case <-life.C:
			return
		case <-silence.C:
			// An event and not a comment: scripts in browsers do not see comments.
			s.text("event: alive\ndata: {}\n\n")
		case <-t.wake:
			goesOn = t.more(s)
			silence.Reset(f.keepAlive)
		}
		if s.flush() != nil || !goesOn {
			return
		}
		if t.pace > 0 && !pause(ctx, t.pace) {
			return
		}
	}
}

// pause waits; false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// stream collects events and sends them in one write.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
}

func (s *stream) text(t string) { s.buf.WriteString(t) }

func (s *stream) event(name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		// Only a figure that is no number (NaN) cannot be written; the next one can.
		s.buf.WriteString(": left out: " + err.Error() + "\n\n")
		return
	}
	s.buf.WriteString("event: " + name + "\ndata: ")
	s.buf.Write(b)
	s.buf.WriteString("\n\n")
}

func (s *stream) flush() error {
	_ = s.control.SetWriteDeadline(time.Now().Add(eventDeadline)) // as above
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	s.buf.Reset()
	return s.control.Flush()
}
