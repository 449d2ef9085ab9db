package health

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells systemd how the process is: READY once every check has
// passed, WATCHDOG when every control loop has made progress since it was told so
// the last time, and STATUS with the name of what is not ready or not moving.
// Where the process was not started by systemd it does nothing.
type Notifier struct {
	meter *Meter
	ready *Readiness
	log   *slog.Logger
	// interval of the watchdog, 0: it is off.
	watchdog time.Duration
}

// NewNotifier reads from the environment whether systemd wants to be told.
func NewNotifier(meter *Meter, ready *Readiness, log *slog.Logger) (*Notifier, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("read systemd's watchdog settings: %w", err)
	}
	return &Notifier{meter: meter, ready: ready, log: log, watchdog: watchdog}, nil
}

// Run tells systemd until ctx ends, and then that the process is stopping.
func (n *Notifier) Run(ctx context.Context) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		<-ctx.Done()
		return nil
	}
	period := time.Second
	if n.watchdog > 0 {
		period = min(period, n.watchdog/3)
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var said said
	for {
		n.tell(&said)
		select {
		case <-ctx.Done():
			n.send("STOPPING=1\nSTATUS=stopping", &said)
			return nil
		case <-ticker.C:
		}
	}
}

// said is what systemd knows already.
type said struct {
	ready   bool
	status  string
	fed     time.Time // the last WATCHDOG; zero: none
	failure string    // the last error of sending, logged once
}

func (n *Notifier) tell(said *said) {
	held := n.stuck(said.fed)
	notReady := n.ready.Err()
	var lines []string
	if notReady == nil && !said.ready {
		lines = append(lines, "READY=1")
	}
	status := "ready"
	switch {
	case len(held) > 0:
		// The time goes on; the name is what matters and does not change.
		status = "control loop " + held[0].Loop + " makes no progress"
	case notReady != nil:
		status = "not ready: " + notReady.Error()
	}
	if status = oneLine(status); status != said.status {
		lines = append(lines, "STATUS="+status)
	}
	feed := n.watchdog > 0 && len(held) == 0
	if feed {
		lines = append(lines, "WATCHDOG=1")
	}
	if len(lines) > 0 && n.send(strings.Join(lines, "\n"), said) {
		if feed {
			said.fed = time.Now()
		}
		said.ready = said.ready || notReady == nil
		said.status = status
	}
}

// grace is what a loop may be held up without being called stuck, however often
// systemd is told: a busy board is late by that much and goes on.
const grace = time.Second

// stuck lists the loops that have made no progress since the watchdog was last fed,
// the longest first; while it is not fed, the time counts on with the loop's own. How
// long that may go on is the unit's WatchdogSec.
func (n *Notifier) stuck(fed time.Time) []Held {
	limit := n.meter.cfg.Limit
	if n.watchdog > 0 && !fed.IsZero() {
		limit = min(limit, max(grace, time.Since(fed)))
	}
	return n.meter.heldFor(limit)
}

func (n *Notifier) send(state string, said *said) bool {
	_, err := daemon.SdNotify(false, state)
	if err == nil {
		said.failure = ""
		return true
	}
	if text := err.Error(); text != said.failure {
		n.log.Warn("systemd cannot be told", "err", err)
		said.failure = text
	}
	return false
}

// oneLine keeps a status from being read as several assignments.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
