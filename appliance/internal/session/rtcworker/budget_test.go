package rtcworker

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// sized is a document of so many bytes.
func sized(frame uint64, bytes int) link.Result {
	return link.Result{Frame: frame, Data: make([]byte, bytes)}
}

// Where the budget is spent, a document waits for what others give back, or is left out in
// realtime; a session that has none waiting always gets its first.
func TestBudgetOfDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, nil)
		of := func(realtime bool) *sender {
			s := newSender(realtime, 20, func() {}, func(sink) {})
			s.budget = b
			return s
		}
		greedy, patient, late := of(false), of(false), of(true)
		greedy.put(t.Context(), sized(1, 95))
		patient.put(t.Context(), sized(1, 40)) // its first
		late.put(t.Context(), sized(1, 30))    // too
		if b.spent() != 165 {
			t.Fatalf("%d bytes are spent", b.spent())
		}
		came := false
		go func() { patient.put(t.Context(), sized(2, 10)); came = true }()
		late.put(t.Context(), sized(2, 10))
		synctest.Wait()
		if came || late.leftOut.Load() != 1 || patient.waiting() != 1 || late.waiting() != 1 {
			t.Fatalf("more is taken than there is: %v, %d", came, late.leftOut.Load())
		}
		greedy.use(nil, true) // what it held goes nowhere
		synctest.Wait()
		if !came || b.spent() != 80 {
			t.Errorf("the second did not come when there was room: %v, %d bytes", came, b.spent())
		}

		// What is being written counts until it is written.
		h := &held{let: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		go patient.run(ctx)
		patient.use(h, false)
		synctest.Wait()
		if b.spent() != 80 {
			t.Errorf("%d bytes while the first is written, want 80", b.spent())
		}
		h.let <- struct{}{}
		synctest.Wait()
		if b.spent() != 40 {
			t.Errorf("%d bytes behind the first, want 40", b.spent())
		}
		cancel() // in the middle of the second
		<-patient.delivered
		late.finish([]byte("{}"), 3, true, false)
		for _, s := range []*sender{greedy, patient, late, patient} {
			s.release()
		}
		patient.put(t.Context(), sized(3, 10))
		if b.spent() != 0 {
			t.Errorf("%d bytes are left when all is over", b.spent())
		}
	})
}

// slowWorker takes pictures, and reads them when it is told to.
type slowWorker struct {
	puppet
	unread atomic.Int64
	full   atomic.Bool
}

func (w *slowWorker) Media(u link.AccessUnit) bool {
	if w.full.Load() {
		return false
	}
	w.unread.Add(int64(len(u.Data)))
	return true
}

func (w *slowWorker) MediaBytes() int { return int(w.unread.Load()) }

// A camera's pictures are the budget's from being held to being read by the worker.
func TestBudgetOfPictures(t *testing.T) {
	b := newBudget(100, nil)
	picture := func(bytes int) link.AccessUnit { return link.AccessUnit{Keyframe: true, Data: make([]byte, bytes)} }
	expect := func(what string, spent int) {
		t.Helper()
		if b.spent() != spent {
			t.Errorf("%s: %d bytes are spent, want %d", what, b.spent(), spent)
		}
	}
	c, w := &camera{budget: b, realtime: true}, &slowWorker{}
	for range 5 {
		c.offer(picture(30))
	}
	expect("held", 90)
	if c.waiting() != 3 {
		t.Errorf("%d are held, want 3", c.waiting())
	}
	c.start(w)
	expect("passed on", 90)
	if c.offer(picture(30)); w.MediaBytes() != 90 {
		t.Error("a picture is taken when the budget is spent")
	}
	w.unread.Store(30)
	c.offer(picture(30))
	expect("two read, one more", 60)
	w.full.Store(true)
	c.offer(picture(30))
	expect("refused by the worker", 60)
	w.unread.Store(0)
	c.beat()
	expect("all read", 0)

	slow, other := &camera{budget: b}, &slowWorker{}
	slow.start(other)
	b.take(100, false)
	if !slow.offer(picture(40)) {
		t.Error("the first picture is refused")
	}
	if slow.offer(picture(40)) {
		t.Error("a second one is taken, though the budget is spent")
	}
	b.give(100)
	if !slow.offer(picture(40)) {
		t.Error("it is refused when there is room again")
	}
	expect("two unread", 80)
	slow.stop()
	slow.stop()
	slow.offer(picture(40))
	slow.beat()
	expect("over", 0)

	early := &camera{budget: b}
	early.offer(picture(40))
	expect("held", 40)
	early.stop()
	early.start(other)
	expect("never passed on", 0)
}

// Sessions whose peers read nothing take no more than the budget, and none of it from one
// whose peer reads, which goes on document by document.
func TestBudgetIsShared(t *testing.T) {
	const size, most = 400_000, 1 << 20
	b := start(t, setting{config: Config{QueueBytes: most}})
	var deaf []*client.Worker
	for range 3 {
		deaf = append(deaf, b.dial(asks(plays("frames=1000&size=%d", size)), client.WorkerOptions{ReceiveBuffer: 64 << 10}))
	}
	for end := time.Now().Add(patience); b.budget.spent() <= most-size; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the budget is never spent")
		}
	}
	w := b.dial(asks(plays("frames=12&size=%d", size)), client.WorkerOptions{})
	if frames, last := finish(t, w, true); len(frames) != 12 || last.Reason != "" {
		t.Errorf("%d frames, %+v", len(frames), last)
	}
	if n := b.budget.spent(); n > most+4*(size+1000) {
		t.Errorf("%d bytes are held, by three sessions of documents of %d bytes and a budget of %d", n, size, most)
	}
	for _, w := range append(deaf, w) {
		_ = w.Close()
	}
	b.empty()
}
