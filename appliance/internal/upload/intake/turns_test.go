package intake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/watchpost/watchpost/appliance/internal/upload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheNewerWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(0, nil, nil)
		asked := make(chan struct{}, 9)
		give, err := turns.Take(t.Context(), "a", func() { asked <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		other, err := turns.Take(t.Context(), "b", nil) // another upload is nobody's business
		if err != nil {
			t.Fatal(err)
		}
		other()
		got := make(chan func())
		go func() {
			g, err := turns.Take(t.Context(), "a", nil)
			if err != nil {
				t.Error(err)
			}
			got <- g
		}()
		<-asked
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("two have the turn")
		default:
		}
		give()
		give() // once is enough, twice does no harm
		(<-got)()
		if len(turns.holders) != 0 {
			t.Errorf("%d turns are still held", len(turns.holders))
		}
	})
}

func TestWaitingForATurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(0, nil, nil)
		give, err := turns.Take(t.Context(), "a", nil) // does not yield
		if err != nil {
			t.Fatal(err)
		}
		defer give()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Take(ctx, "a", nil); !errors.Is(err, upload.ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
	})
}

func TestOneWriterAtATime(t *testing.T) {
	turns := NewTurns(0, prometheus.NewRegistry(), nil)
	var writing atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			stop := make(chan struct{})
			give, err := turns.Take(t.Context(), "a", sync.OnceFunc(func() { close(stop) }))
			if err != nil {
				t.Error(err)
				return
			}
			defer give()
			if n := writing.Add(1); n != 1 {
				t.Errorf("%d write", n)
			}
			select {
			case <-stop:
			case <-time.After(time.Millisecond):
			}
			writing.Add(-1)
		})
	}
	wg.Wait()
}

func TestBodiesAreCounted(t *testing.T) {
	turns := NewTurns(2, nil, nil)
	first, err := turns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := turns.Enter(); err != nil {
		t.Fatal(err)
	}
	if _, err := turns.Enter(); !errors.Is(err, upload.ErrTooMany) || AnswerTo(err).Status != 503 || AnswerTo(err).Retry == 0 {
		t.Errorf("the third: %v", err)
	}
	first()
	if _, err := turns.Enter(); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
