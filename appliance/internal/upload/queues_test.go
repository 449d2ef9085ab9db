package upload

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// What is refused for want of room is counted, and the queues go with the uploads.
func TestQueuesAreMetered(t *testing.T) {
	var r queue.Registry
	b := start(t, setup{dir: t.TempDir(), config: Config{MaxOpen: 1}, deps: func(d *Deps) { d.Queues = &r }})
	i := mustCreate(t, b, Spec{Size: 100})
	if _, err := b.Create(context.Background(), Spec{Size: 100}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := b.Append(t.Context(), i.ID, 0, bytes.NewReader(content(1, 0, 100))); err != nil {
		t.Fatal(err)
	}
	open := false
	for _, f := range r.Figures() {
		if f.Instances != 1 || f.Capacity < 1 || f.Depth > f.Capacity {
			t.Errorf("%+v", f)
		}
		if f.Name == "uploads open" {
			open = f.Dropped == 1 && f.Capacity == 1 && f.Policy == queue.Refuse
		}
	}
	if !open {
		t.Errorf("the one too many is not told: %+v", r.Figures())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Figures() {
		if f.Instances != 0 {
			t.Errorf("left: %+v", f)
		}
	}
}
