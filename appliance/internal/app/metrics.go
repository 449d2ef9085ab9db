package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
)

// collector exports the cameras: the frame ledger, their state and workers.
type collector struct {
	cameras *cameras
	frames  *prometheus.Desc
	pending *prometheus.Desc
	up      *prometheus.Desc
	restart *prometheus.Desc
	rss     *prometheus.Desc
	cpu     *prometheus.Desc
	delay   *prometheus.Desc
}

func newCollector(c *cameras) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watchpost_camera_"+name, help, append([]string{"camera"}, labels...), nil)
	}
	return &collector{
		cameras: c,
		frames:  desc("frames_total", "Frames by how they ended; with those pending, all but \"picture_…\" and \"decoder_error\" add up to \"decoded\".", "end"),
		pending: desc("frames_pending", "Frames in hand."),
		up:      desc("playing", "1 while frames arrive."),
		restart: desc("worker_restarts_total", "How often the camera's worker was started anew."),
		rss:     desc("worker_resident_bytes", "Resident memory of the camera's worker."),
		cpu:     desc("worker_cpu_seconds", "Processor time used by the camera's present worker."),
		delay:   desc("capture_to_output_seconds", "From a frame's capture to its packets, over the last pictures.", "quantile"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.frames, c.pending, c.up, c.restart, c.rss, c.cpu, c.delay} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, b := range c.cameras.all() {
		s := b.camera.Snapshot()
		l := s.Ledger
		for _, f := range []struct {
			end string
			n   uint64
		}{
			{"decoded", l.Decoded}, {"inferred", l.Inferred}, {"skipped_no_motion", l.SkippedMotion},
			{"skipped_rate_limit", l.SkippedRate}, {"skipped_heat", l.SkippedHeat}, {"dropped", l.Dropped},
			{"failed", l.Failed},
			{"picture_sent", l.PicturesSent}, {"picture_dropped", l.PicturesLate}, {"decoder_error", l.DecoderErrors},
		} {
			ch <- prometheus.MustNewConstMetric(c.frames, prometheus.CounterValue, float64(f.n), s.ID, f.end)
		}
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(l.Pending), s.ID)
		up := 0.0
		if stateName(s) == "playing" {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up, s.ID)
		ch <- prometheus.MustNewConstMetric(c.restart, prometheus.CounterValue, float64(s.Restarts), s.ID)
		if w := s.Worker; w != nil {
			ch <- prometheus.MustNewConstMetric(c.rss, prometheus.GaugeValue, float64(w.RSS), s.ID)
			ch <- prometheus.MustNewConstMetric(c.cpu, prometheus.GaugeValue, w.CPU.Seconds(), s.ID)
		}
		if s.Delay.Pictures > 0 {
			ch <- prometheus.MustNewConstMetric(c.delay, prometheus.GaugeValue, s.Delay.P50.Seconds(), s.ID, "0.5")
			ch <- prometheus.MustNewConstMetric(c.delay, prometheus.GaugeValue, s.Delay.P95.Seconds(), s.ID, "0.95")
			ch <- prometheus.MustNewConstMetric(c.delay, prometheus.GaugeValue, s.Delay.Max.Seconds(), s.ID, "1")
		}
	}
}

// listModels is the model store as the API tells it.
func listModels(cfg *config.Config) ([]api.Model, error) {
	s, err := model.OpenStore(cfg.ModelsDir())
	if err != nil {
		return nil, err
	}
	models, bad := s.List()
	list := make([]api.Model, 0, len(models))
	for _, m := range models {
		v := api.Model{
			Name: m.Name, Family: string(m.Card.Output.Family), Licence: m.Card.Licence,
			Labels: m.Card.Labels, SHA256: m.Card.SHA256, UsedBy: []string{},
		}
		for _, c := range cfg.Cameras {
			if cfg.ModelOf(c) == m.Name {
				v.UsedBy = append(v.UsedBy, c.ID)
			}
		}
		list = append(list, v)
	}
	if bad != nil {
		list = append(list, api.Model{Name: "unreadable", Labels: []string{}, UsedBy: []string{}, Problem: bad.Error()})
	}
	return list, nil
}
