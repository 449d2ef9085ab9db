package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics are read from the loops when they are asked for, so that
// measuring touches nothing of Prometheus.
var (
	delayDesc = prometheus.NewDesc("watchpost_loop_delay_seconds",
		"How late the timer of a control loop was served.", []string{"loop"}, nil)
	delayMaxDesc = prometheus.NewDesc("watchpost_loop_delay_max_seconds",
		"The longest that the timer of a control loop was ever late.", []string{"loop"}, nil)
	callDesc = prometheus.NewDesc("watchpost_loop_callback_seconds",
		"How long the callbacks of a control loop took.", []string{"loop"}, nil)
	callMaxDesc = prometheus.NewDesc("watchpost_loop_callback_max_seconds",
		"The longest callback of a control loop.", []string{"loop"}, nil)
	stallsDesc = prometheus.NewDesc("watchpost_loop_stalls_total",
		"Delays and callbacks of a control loop that were longer than health.stall_warn.", []string{"loop"}, nil)
	heldDesc = prometheus.NewDesc("watchpost_loop_held_seconds",
		"For how long a control loop has been making no progress, now.", []string{"loop"}, nil)
	tracesDesc = prometheus.NewDesc("watchpost_stall_traces_total",
		"Execution traces that were written for stalls.", nil, nil)
)

type collector struct{ m *Meter }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{delayDesc, delayMaxDesc, callDesc, callMaxDesc, stallsDesc, heldDesc, tracesDesc} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	now := c.m.now()
	for _, l := range c.m.all() {
		histogramOf(ch, &l.delay, delayDesc, delayMaxDesc, l.name)
		histogramOf(ch, &l.calls, callDesc, callMaxDesc, l.name)
		held := l.held(now)
		ch <- prometheus.MustNewConstMetric(stallsDesc, prometheus.CounterValue, float64(l.stalls.Load()), l.name)
		ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, held.Seconds(), l.name)
	}
	if c.m.tracer != nil {
		ch <- prometheus.MustNewConstMetric(tracesDesc, prometheus.CounterValue, float64(c.m.tracer.written.Load()))
	}
}

// histogramOf exports a histogram and its maximum, unless nothing was counted.
func histogramOf(ch chan<- prometheus.Metric, h *histogram, desc, maxDesc *prometheus.Desc, loop string) {
	count, sum, buckets := h.export()
	if count == 0 {
		return
	}
	ch <- prometheus.MustNewConstHistogram(desc, count, sum, buckets, loop)
	ch <- prometheus.MustNewConstMetric(maxDesc, prometheus.GaugeValue, time.Duration(h.max.Load()).Seconds(), loop)
}
