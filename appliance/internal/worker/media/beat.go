package media

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/health"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// beatInterval is the time between two signs of life.
const beatInterval = 500 * time.Millisecond

func (w *worker) beat(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if stage := w.stuck(); stage != "" {
				// A process in which it beats on its own is no sign of life: the
				// supervisor kills what is silent, and starts another.
				w.log.Error("a stage hangs", "stage", stage, "for", stuckAfter)
				return
			}
			err := w.sendBeat()
			switch {
			case errors.Is(err, link.ErrProtocol):
				w.log.Error("a beat was not sent", "error", err) // a fault of ours; the link is sound
			case err != nil:
				cancel(errAlone)
				return
			}
		}
	}
}

// stuckAfter is how long a live stage may be at one frame: far longer than any
// model or encoder takes, a driver that hangs excepted.
const stuckAfter = 10 * time.Second

// stuck names the live stage that hangs, if one does. A file's may wait: its
// encoder finishes a long recording in one go.
func (w *worker) stuck() string {
	if w.start.Mode == "file" {
		return ""
	}
	if a := w.analysis.Load(); a != nil && a.busy.lasting() > stuckAfter {
		return "analysis"
	}
	if p := w.stage.Load(); p != nil && p.busy.lasting() > stuckAfter {
		return "encoder"
	}
	return ""
}

func (w *worker) sendBeat() error {
	b := link.Beat{Ledger: w.ledger.snapshot(), RSS: health.ResidentBytes(), CPU: processorTime()}
	b.SourceFPS = w.rate.take(time.Now())
	b.Encode, _ = w.out.spent.take()
	if a := w.analysis.Load(); a != nil {
		var count int64
		b.Analyse, count = a.spent.take()
		b.AnalysedFPS = float64(count) / beatInterval.Seconds()
	}
	switch {
	case w.session != nil:
		b.Position, b.Duration = time.Duration(w.session.position.Load()), time.Duration(w.session.duration.Load())
	case w.start.Mode == "file":
		b.Position, b.Duration = w.filePosition()
	}
	return w.conn.Send(link.KindBeat, b)
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
