package state

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// More writers than may wait are all served, each once, and no transaction is
// larger than it may be.
func TestWritersAreBounded(t *testing.T) {
	d := &DB{group: newGroup()}
	_, most := d.Writers()
	want := errors.New("told to each")
	hold, began := make(chan struct{}), make(chan struct{}, 1)
	var served, largest int // commits come one at a time
	commit := func(calls []*call) error {
		select {
		case began <- struct{}{}:
			<-hold
		default:
		}
		served += len(calls)
		largest = max(largest, len(calls))
		return want
	}
	var all sync.WaitGroup
	const extra = 300
	for range most + extra {
		all.Go(func() {
			if err := d.group.do(nil, commit); !errors.Is(err, want) {
				t.Errorf("a writer was told %v", err)
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		d.group.mu.Lock()
		waiting := len(d.group.waiting)
		d.group.mu.Unlock()
		n, _ := d.Writers()
		if n > most || waiting > most {
			t.Fatalf("%d writers and %d waiting, %d may be", n, waiting, most)
		}
		if n == most && waiting >= most-1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d writers, %d waiting after 20 s", n, waiting)
		}
	}
	close(hold)
	all.Wait()
	if served != most+extra || largest > maxGroup {
		t.Errorf("%d of %d served, at most %d at once", served, most+extra, largest)
	}
	if n, _ := d.Writers(); n != 0 {
		t.Errorf("%d writers are left", n)
	}
}
