package app

import (
	"context"
	"runtime"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/health"
)

// models lists the installed models for the API.
func (b *box) models(ctx context.Context) ([]api.Model, error) {
	return listModels(b.cfg)
}

// system is the control process about itself.
func (b *box) system() api.System {
	s := api.System{
		Version: b.p.Version, Started: b.began, UptimeSeconds: time.Since(b.began).Seconds(),
		RSS: health.ResidentBytes(), Goroutines: runtime.NumGoroutine(), Notes: b.push.opened.Notes(),
	}
	for _, f := range b.meter.Figures() {
		l := api.Loop{Name: f.Loop, P99MS: ms(f.P99), MaxMS: ms(max(f.Max, f.CallbackMax)), Stalls: f.Stalls}
		if !f.LastStall.IsZero() {
			l.LastStall = &f.LastStall
		}
		s.Loops = append(s.Loops, l)
	}
	for _, f := range b.queues.Figures() {
		s.Queues = append(s.Queues, api.Queue{
			Name: f.Name, Policy: string(f.Policy), Instances: f.Instances, Depth: f.Depth, Capacity: f.Capacity, Fullest: f.Fullest, Dropped: f.Dropped,
		})
	}
	return s
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
