package live

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// meter counts what a stall meter would see.
type meter struct {
	tick            chan time.Time
	ticked, entered atomic.Int64
	inside          atomic.Int64
}

func (m *meter) Tick() <-chan time.Time { return m.tick }
func (m *meter) Ticked()                { m.ticked.Add(1) }
func (m *meter) Enter() func() {
	m.entered.Add(1)
	m.inside.Add(1)
	return func() { m.inside.Add(-1) }
}

func TestMetricsAndMeter(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := &meter{tick: make(chan time.Time)}
	var name string
	d := Deps{Log: slog.New(slog.DiscardHandler), Registerer: registry, Loops: func(n string) Loop { name = n; return m }}
	s, err := New(d, Config{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	e := &fakeEncoder{gop: 30, size: 3000}
	e.stream = s.Stream("front", e)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	go e.run(ctx, 60)
	c := watch(t, web.URL, clientOptions{})
	eventually(t, "packets", 5*time.Second, func() bool { return len(c.received()) > 50 })
	e.stream.Publish(Unit{Codec: H264, Data: []byte("no unit")})
	e.stream.Publish(Unit{Codec: 7})

	select {
	case m.tick <- time.Now():
	case <-time.After(2 * time.Second):
		t.Error("the loop takes no tick")
	}
	eventually(t, "the tick to be answered", time.Second, func() bool { return m.ticked.Load() == 1 && m.inside.Load() == 0 })
	if name != "live/front" || m.entered.Load() < 10 {
		t.Errorf("loop %q entered %d times", name, m.entered.Load())
	}

	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`watchpost_live_viewers{camera="front",codec="h264",state="connected"} 1`,
		`watchpost_live_viewers{camera="front",codec="vp8",state="connected"} 0`,
		`watchpost_live_units_damaged_total{camera="front",codec="h264"} 1`,
		`watchpost_live_nacks_total{camera="front",codec="h264",outcome="missed"} 0`,
		`watchpost_live_queue_frames{camera="front",codec="h264"}`,
		`watchpost_live_boxes_total{camera="front",outcome="dropped"} 0`,
		`watchpost_live_datagrams_dropped_total 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "watchpost_live_capture_to_packet_seconds_count 0\n") || !strings.Contains(text, "watchpost_live_capture_to_packet_seconds_count") {
		t.Error("no delay was observed")
	}

	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run does not end")
	}
	if n := s.Stats(); len(n.Streams) != 0 {
		t.Errorf("streams after the end: %+v", n)
	}
	// The same registry takes another server: nothing is left in it.
	again, err := New(d, Config{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	e.stream.Publish(Unit{Codec: H264, Data: testUnit(H264, true, 1, 100)}) // into the dead stream: dropped
	e.stream.Close()
	if st := again.Stream("late", e); st.Viewers() != 0 {
		t.Error("a stream of a closed server has viewers")
	}
}
