package queue_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

func TestQueuesOfANameAreShownAsOne(t *testing.T) {
	var r queue.Registry
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&r)
	r.Declare("viewer packets", queue.DropOldest)
	a, b := make(chan int, 4), make(chan int, 10)
	first := r.Register("mail", queue.Block, cap(a), func() int { return len(a) })
	second := r.Register("mail", queue.Block, cap(b), func() int { return len(b) })
	a <- 1
	a <- 2
	b <- 3
	first.Dropped(2)
	second.Dropped(1)
	second.Dropped(0)

	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	want := func(depth, capacity, fullest, instances string) {
		t.Helper()
		w := httptest.NewRecorder()
		metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			if !strings.HasPrefix(line, "#") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		expect := []string{
			`watchpost_queue_capacity{policy="block",queue="mail"} ` + capacity,
			`watchpost_queue_capacity{policy="drop-oldest",queue="viewer packets"} 0`,
			`watchpost_queue_depth{policy="block",queue="mail"} ` + depth,
			`watchpost_queue_depth{policy="drop-oldest",queue="viewer packets"} 0`,
			`watchpost_queue_dropped_total{policy="block",queue="mail"} 3`,
			`watchpost_queue_dropped_total{policy="drop-oldest",queue="viewer packets"} 0`,
			`watchpost_queue_fullest_ratio{policy="block",queue="mail"} ` + fullest,
			`watchpost_queue_fullest_ratio{policy="drop-oldest",queue="viewer packets"} 0`,
			`watchpost_queue_instances{policy="block",queue="mail"} ` + instances,
			`watchpost_queue_instances{policy="drop-oldest",queue="viewer packets"} 0`,
		}
		if !slices.Equal(got, expect) {
			t.Errorf("metrics:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(expect, "\n"))
		}
	}
	want("3", "14", "0.5", "2")
	first.Close()
	first.Close()
	want("1", "10", "0.1", "1")
	second.Close()
	want("0", "0", "0", "0")
}

// A reader of the metrics must not wait for an owner that registers, closes and
// tells its depth under a lock of its own.
func TestAnOwnersLockIsNoDeadlock(t *testing.T) {
	var r queue.Registry
	var mu sync.Mutex
	var depth int
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				mu.Lock()
				m := r.Register("locked", queue.Latest, 1, func() int {
					mu.Lock()
					defer mu.Unlock()
					return depth
				})
				depth = 1 - depth
				m.Dropped(1)
				m.Close()
				mu.Unlock()
			}
		})
	}
	for range 500 {
		r.Figures()
	}
	wg.Wait()
	if got := r.Figures(); len(got) != 1 || got[0].Dropped != 2000 || got[0].Instances != 0 {
		t.Errorf("after all queues were closed: %+v", got)
	}
}

func TestNilMeasuresNothing(t *testing.T) {
	var r *queue.Registry
	r.Declare("nothing", queue.Block)
	m := r.Register("nothing", queue.Block, 1, nil)
	m.Dropped(1)
	m.Close()
	if got := r.Figures(); got != nil {
		t.Errorf("a nil registry knows %v", got)
	}
}
