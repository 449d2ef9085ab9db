package job

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/state"
)

// metrics exports the jobs.
type metrics struct {
	jobs     *Jobs
	byStatus *prometheus.Desc
	depth    *prometheus.Desc
	resting  *prometheus.Desc
	results  *prometheus.Desc

	attempts prometheus.Counter
	ends     *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// endNames are the ends of attempts as labels.
var endNames = map[end]string{
	endFailed: "failed", endPassing: "fault", endDied: "died", endDone: "done",
	endStopped: "stopped", endStarved: "starved", endWhole: "not_streamable",
}

func newMetrics(q *Jobs) *metrics {
	m := &metrics{
		jobs:     q,
		byStatus: prometheus.NewDesc("watchpost_jobs", "Jobs by status.", []string{"status"}, nil),
		depth:    prometheus.NewDesc("watchpost_job_queue_depth", "Jobs that could run and wait for their turn.", nil, nil),
		resting:  prometheus.NewDesc("watchpost_jobs_resting", "1 while jobs rest for the live cameras' sake.", nil, nil),
		results:  prometheus.NewDesc("watchpost_job_results_readers", "Cursors open on results.", nil, nil),
		attempts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "watchpost_job_attempts_total", Help: "Starts of a worker on a pushed file.",
		}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchpost_job_attempt_ends_total", Help: "Ends of such attempts.",
		}, []string{"end"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "watchpost_job_seconds", Help: "How long attempts took.", Buckets: prometheus.ExponentialBuckets(0.5, 3, 10),
		}, []string{"end"}),
	}
	for _, name := range endNames {
		m.ends.WithLabelValues(name)
	}
	return m
}

// meterQueues tells of the jobs' queues, for good: there is one of each in a box.
func (q *Jobs) meterQueues() {
	q.full = q.deps.Queues.Register("jobs", queue.Refuse, maxJobs, func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.entries)
	})
	q.deps.Queues.Register("job intake", queue.Latest, maxFiles, q.mail.waiting)
}

func (m *metrics) ended(e end, took time.Duration) {
	m.ends.WithLabelValues(endNames[e]).Inc()
	m.seconds.WithLabelValues(endNames[e]).Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.byStatus, m.depth, m.resting, m.results} {
		ch <- d
	}
	m.attempts.Describe(ch)
	m.ends.Describe(ch)
	m.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	counts := map[state.JobStatus]int{
		state.JobWaiting: 0, state.JobQueued: 0, state.JobRunning: 0, state.JobPaused: 0,
		state.JobDone: 0, state.JobFailed: 0, state.JobCanceled: 0, state.JobSetAside: 0,
	}
	ready, resting, now := 0, 0.0, time.Now()
	q := m.jobs
	q.mu.Lock()
	for _, e := range q.entries {
		s := e.rec.Status
		if s == state.JobRunning && e.run != nil && e.run.paused {
			s = state.JobPaused
		}
		counts[s]++
		if s == state.JobQueued && !e.notBefore().After(now) {
			ready++
		}
	}
	if q.pressed.On {
		resting = 1
	}
	q.mu.Unlock()
	for s, n := range counts {
		ch <- prometheus.MustNewConstMetric(m.byStatus, prometheus.GaugeValue, float64(n), string(s))
	}
	ch <- prometheus.MustNewConstMetric(m.depth, prometheus.GaugeValue, float64(ready))
	ch <- prometheus.MustNewConstMetric(m.resting, prometheus.GaugeValue, resting)
	ch <- prometheus.MustNewConstMetric(m.results, prometheus.GaugeValue, float64(q.shelf.users()))
	m.attempts.Collect(ch)
	m.ends.Collect(ch)
	m.seconds.Collect(ch)
}
