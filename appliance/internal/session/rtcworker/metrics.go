package rtcworker

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	sessionsDesc = prometheus.NewDesc("watchpost_sessions",
		"WebRTC worker sessions that are open.", []string{"state", "source"}, nil)
	endedDesc = prometheus.NewDesc("watchpost_sessions_ended_total",
		"WebRTC worker sessions that ended.", []string{"reason"}, nil)
	refusedDesc = prometheus.NewDesc("watchpost_sessions_refused_total",
		"Requests for a WebRTC worker session that were refused.", []string{"status"}, nil)
	documentsDesc = prometheus.NewDesc("watchpost_session_documents_total",
		"Documents of sessions: sent, or left out for a slow reader.", []string{"result"}, nil)
	bytesDesc = prometheus.NewDesc("watchpost_session_bytes_total",
		"Bytes of documents sent, and of messages taken on upload channels.", []string{"direction"}, nil)
	waitsDesc = prometheus.NewDesc("watchpost_session_credit_waits_total",
		"How often a session had said all that its credit allowed.", nil, nil)
)

// metrics are read from the sessions when they are asked for; what ended sessions had
// is added up here.
type metrics struct {
	s        *Server
	waits    atomic.Uint64
	uploaded atomic.Uint64
	setup    prometheus.Histogram // request → answer
	reach    prometheus.Histogram // request → connected

	mu      sync.Mutex
	reasons map[string]uint64
	refused map[int]uint64
	sent    uint64
	leftOut uint64
	bytes   uint64
}

func newMetrics(s *Server) *metrics {
	return &metrics{
		s: s, reasons: map[string]uint64{}, refused: map[int]uint64{},
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "watchpost_session_setup_seconds", Help: "From a request for a session to its answer.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
		reach: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "watchpost_session_connect_seconds", Help: "From a request for a session to the peer's being connected.",
			Buckets: []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}),
	}
}

func (m *metrics) opened(took time.Duration)    { m.setup.Observe(took.Seconds()) }
func (m *metrics) connected(took time.Duration) { m.reach.Observe(took.Seconds()) }

// refuse answers with a refusal, and counts it.
func (m *metrics) refuse(w http.ResponseWriter, r *refusal) {
	m.mu.Lock()
	m.refused[r.status]++
	m.mu.Unlock()
	r.write(w)
}

// ended takes over what a session counted.
func (m *metrics) ended(reason string, i Info) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reasons[reasonName(reason)]++
	m.sent += i.Documents
	m.leftOut += i.LeftOut
	m.bytes += i.Bytes
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sessionsDesc, endedDesc, refusedDesc, documentsDesc, bytesDesc, waitsDesc} {
		ch <- d
	}
	m.setup.Describe(ch)
	m.reach.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	type kind struct{ state, source string }
	open := map[kind]int{}
	m.mu.Lock()
	sent, leftOut, bytes := m.sent, m.leftOut, m.bytes
	for reason, n := range m.reasons {
		ch <- prometheus.MustNewConstMetric(endedDesc, prometheus.CounterValue, float64(n), reason)
	}
	for status, n := range m.refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), http.StatusText(status))
	}
	m.mu.Unlock()
	for _, i := range m.s.List() {
		open[kind{i.State, i.Source}]++
		sent += i.Documents
		leftOut += i.LeftOut
		bytes += i.Bytes
	}
	for k, n := range open {
		ch <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(n), k.state, k.source)
	}
	ch <- prometheus.MustNewConstMetric(documentsDesc, prometheus.CounterValue, float64(sent), "sent")
	ch <- prometheus.MustNewConstMetric(documentsDesc, prometheus.CounterValue, float64(leftOut), "left_out")
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(bytes), "sent")
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(m.uploaded.Load()), "uploaded")
	ch <- prometheus.MustNewConstMetric(waitsDesc, prometheus.CounterValue, float64(m.waits.Load()))
	m.setup.Collect(ch)
	m.reach.Collect(ch)
}
