package app

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// operatorSignals are for who looks into a running box. A process that does not
// expect them dies of them.
var operatorSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}

// expectSignals has the box wait with what an operator's signals ask for until it runs:
// the first may come while it starts. release undoes it.
func (b *box) expectSignals() (release func()) {
	// A few: what an operator sends while a trace is being written is not lost.
	b.signals = make(chan os.Signal, 4)
	signal.Notify(b.signals, operatorSignals...)
	return func() { signal.Stop(b.signals) }
}

// ignoreSignals keeps a worker from dying of what is meant for the box: "systemctl kill"
// and "pkill" signal every process there is.
func ignoreSignals() { signal.Ignore(operatorSignals...) }

// serveSignals does what an operator's signals ask for: SIGUSR1 writes a trace of the
// last seconds and the goroutines, SIGUSR2 begins and ends debug logging.
func (b *box) serveSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-b.signals:
			if s == syscall.SIGUSR2 {
				b.p.toggleDebug(ctx)
				continue
			}
			path, err := b.meter.TraceNow(ctx)
			if err != nil {
				b.p.Log.Error("the trace that was asked for by SIGUSR1 was not written", "error", err)
				continue
			}
			b.p.Log.Warn("trace written as asked for by SIGUSR1; look at it with go tool trace", "file", path)
		}
	}
}

// toggleDebug switches debug logging on, or back to how it was configured. It says
// so at whatever level is logged.
func (p Program) toggleDebug(ctx context.Context) {
	if p.verbosity == nil {
		return
	}
	now, level := "off", p.usual
	if p.verbosity.Level() > slog.LevelDebug {
		now, level = "on", slog.LevelDebug
	} else if level <= slog.LevelDebug {
		level = slog.LevelInfo // it was configured to be on
	}
	p.verbosity.Set(level)
	p.Log.Log(ctx, max(slog.LevelWarn, p.usual), "debug logging is "+now+"; SIGUSR2 switches it", "level", level)
}
