package upload

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/state"
)

// meter are the figures of uploads.
type meter struct {
	registerer prometheus.Registerer
	s          *Uploads

	bytes    prometheus.Counter
	seconds  prometheus.Histogram
	sizes    prometheus.Histogram
	failures prometheus.Counter
	refused  *prometheus.CounterVec
}

var (
	uploadsDesc  = prometheus.NewDesc("watchpost_uploads", "Uploads, by status.", []string{"status"}, nil)
	promisedDesc = prometheus.NewDesc("watchpost_uploads_promised_bytes", "Bytes that uploads have taken or were promised; uploads.quota bounds them.", nil, nil)
	trashDesc    = prometheus.NewDesc("watchpost_uploads_removing", "Files that wait for being removed.", nil, nil)
)

func newMeter(r prometheus.Registerer, s *Uploads) (*meter, error) {
	m := &meter{
		registerer: r, s: s,
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "watchpost_uploads_received_bytes_total", Help: "Bytes received and durable."}),
		seconds:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "watchpost_uploads_sync_seconds", Help: "Duration of a data sync.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}),
		sizes:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "watchpost_uploads_sync_bytes", Help: "Bytes that one data sync covered.", Buckets: prometheus.ExponentialBuckets(4<<10, 4, 9)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "watchpost_uploads_sync_failures_total", Help: "Data syncs that failed; what they covered was not acknowledged."}),
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "watchpost_uploads_refused_total", Help: "Requests that were refused, by reason."}, []string{"reason"}),
	}
	for _, name := range kinds {
		m.refused.WithLabelValues(name)
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.all() {
		if err := r.Register(c); err != nil {
			for _, c := range m.all()[:i] {
				r.Unregister(c)
			}
			return nil, fmt.Errorf("register the uploads' metrics: %w", err)
		}
	}
	return m, nil
}

func (m *meter) all() []prometheus.Collector {
	return []prometheus.Collector{m.bytes, m.seconds, m.sizes, m.failures, m.refused, m}
}

func (m *meter) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all() {
		m.registerer.Unregister(c)
	}
}

func (m *meter) synced(took time.Duration, n int64, err error) {
	if err != nil {
		m.failures.Inc()
		return
	}
	if n > 0 {
		m.seconds.Observe(took.Seconds())
		m.sizes.Observe(float64(n))
	}
}

func (m *meter) count(kind error) { m.refused.WithLabelValues(kinds[kind]).Inc() }

// refuse counts an error of a request and returns it.
func (s *Uploads) refuse(err error) error {
	if err == nil {
		return nil
	}
	for kind := range kinds {
		if errors.Is(err, kind) {
			s.meter.count(kind)
			return err
		}
	}
	return err
}

// Describe implements prometheus.Collector.
func (m *meter) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{uploadsDesc, promisedDesc, trashDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *meter) Collect(out chan<- prometheus.Metric) {
	byStatus := map[state.UploadStatus]int{state.UploadReceiving: 0, state.UploadChecking: 0, state.UploadComplete: 0, state.UploadRefused: 0}
	for _, e := range m.s.entries() {
		status, _ := e.status()
		byStatus[status]++
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for status, n := range byStatus {
		gauge(uploadsDesc, int64(n), string(status))
	}
	m.s.mu.Lock()
	promised, trash := m.s.promised, len(m.s.trash)
	m.s.mu.Unlock()
	gauge(promisedDesc, promised)
	gauge(trashDesc, int64(trash))
}
