package queue

import "github.com/prometheus/client_golang/prometheus"

// The depths are read from the queues when they are asked for, so that metering
// touches nothing of Prometheus.
var (
	labels        = []string{"queue", "policy"}
	depthDesc     = prometheus.NewDesc("watchpost_queue_depth", "How much the queues of a name hold now.", labels, nil)
	capacityDesc  = prometheus.NewDesc("watchpost_queue_capacity", "How much the queues of a name may hold.", labels, nil)
	fullestDesc   = prometheus.NewDesc("watchpost_queue_fullest_ratio", "Share of its capacity that the fullest queue of a name holds now.", labels, nil)
	instancesDesc = prometheus.NewDesc("watchpost_queue_instances", "How many queues of a name there are now.", labels, nil)
	droppedDesc   = prometheus.NewDesc("watchpost_queue_dropped_total",
		"Items that found a queue full and were dropped, replaced or refused, as its policy says.", labels, nil)
)

// Describe is part of prometheus.Collector.
func (r *Registry) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{depthDesc, capacityDesc, fullestDesc, instancesDesc, droppedDesc} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	for _, f := range r.Figures() {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, f.Name, string(f.Policy))
		}
		gauge(depthDesc, float64(f.Depth))
		gauge(capacityDesc, float64(f.Capacity))
		gauge(fullestDesc, f.Fullest)
		gauge(instancesDesc, float64(f.Instances))
		ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(f.Dropped), f.Name, string(f.Policy))
	}
}
