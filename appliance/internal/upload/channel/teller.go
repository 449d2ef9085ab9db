package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// tellEvery is how often a client is told of what is durable, at most.
const tellEvery = 100 * time.Millisecond

// askEvery is how often the teller asks what became of the chunks that were taken:
// an error that comes after the last one, no later chunk could return.
const askEvery = time.Second

// teller tells a client what has become of its file, on a goroutine of its own:
// chunks are taken while a client is slow to listen.
type teller struct {
	s         *server
	id        string
	layout    layout // of announced files
	announced bool

	changed chan struct{} // capacity 1: newest is another
	over    chan struct{} // closed by end
	once    sync.Once
	unasked atomic.Bool // chunks were taken since it was last asked

	mu      sync.Mutex
	newest  upload.Info
	failure error // of the file; it was told
}

func newTeller(s *server, id string, l layout, announced bool) *teller {
	return &teller{
		s: s, id: id, layout: l, announced: announced,
		changed: make(chan struct{}, 1), over: make(chan struct{}),
	}
}

// placed notes that a chunk was taken.
func (t *teller) placed() { t.unasked.Store(true) }

// end has run return soon.
func (t *teller) end() { t.once.Do(func() { close(t.over) }) }

func (t *teller) deliver(i upload.Info) {
	t.mu.Lock()
	t.newest = i
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// run tells until the file has come to its end, or the channel has.
func (t *teller) run() {
	stop := t.s.uploads.Watch(t.id, t.deliver)
	defer stop()
	if info, err := t.s.uploads.Get(t.id); err == nil {
		t.deliver(info) // what was before the watch
	}
	var told []state.Extent
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for {
		select {
		case <-t.s.ctx.Done():
			return
		case <-t.over:
			return
		case <-ask.C:
			if t.unasked.Swap(false) && t.lost() {
				return
			}
		case <-t.changed:
			t.mu.Lock()
			info := t.newest
			t.mu.Unlock()
			if done, err := t.tell(info, &told); done || err != nil {
				return
			}
			if !t.pause() {
				return
			}
		}
	}
}

func (t *teller) pause() bool {
	timer := time.NewTimer(tellEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.over:
		return false
	case <-t.s.ctx.Done():
		return false
	}
}

// lost asks whether chunks that were taken did not become durable, and tells it.
func (t *teller) lost() bool {
	err := t.s.uploads.Flush(t.s.ctx, t.id)
	if err == nil || t.s.ctx.Err() != nil || errors.Is(err, upload.ErrNotFound) || errors.Is(err, upload.ErrGone) {
		return false // the watch tells
	}
	t.fail(err)
	return true
}

// fail tells that nothing comes of the file, for good.
func (t *teller) fail(err error) {
	t.mu.Lock()
	t.failure = err
	t.mu.Unlock()
	if t.s.o.Failed != nil {
		t.s.o.Failed(t.id, err)
	}
	_ = t.s.conn.WriteText(problem(err)) // who is gone learns nothing
}

// failed is why nothing comes of the file, if so.
func (t *teller) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure
}

// tell says how the file stands, if the client knows the words; done: it has come to its end.
func (t *teller) tell(info upload.Info, told *[]state.Extent) (done bool, err error) {
	switch info.Status {
	case state.UploadComplete:
		if t.s.o.Complete != nil {
			t.s.o.Complete(t.id)
		}
		job := ""
		if t.s.o.JobOf != nil {
			job = t.s.o.JobOf(t.id)
		}
		if err := t.committed(info, told); err != nil {
			return true, err
		}
		return true, t.say(map[string]any{"done": map[string]any{"id": t.id, "job": job, "sha256": info.SHA256}})
	case state.UploadRefused:
		t.fail(fmt.Errorf("%w: the file is refused: %s", upload.ErrGone, info.Problem))
		return true, nil
	case upload.Removed:
		t.fail(fmt.Errorf("%w: it was removed from the box", upload.ErrGone))
		return true, nil
	}
	return false, t.committed(info, told)
}

// committed says which chunks are durable, if there are more than were told.
func (t *teller) committed(info upload.Info, told *[]state.Extent) error {
	if slices.Equal(info.Have, *told) {
		return nil
	}
	*told = info.Have
	return t.say(map[string]any{"committed": map[string]any{"id": t.id, "have": t.layout.chunks(info.Have)}})
}

func (t *teller) say(m map[string]any) error {
	if !t.announced {
		return nil // the plain protocol has no such words
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return t.s.conn.WriteText(data)
}
