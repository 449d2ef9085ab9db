package health

import (
	"sync/atomic"
	"time"
)

// Loop measures one control loop. Its owner's select has one case more:
//
//	case <-loop.Tick():
//		loop.Ticked()
//
// and what it does for others is enclosed in Enter and the function that Enter
// returns. A Loop that is only entered, for callbacks that run on somebody
// else's goroutine, need not tick.
type Loop struct {
	name  string
	meter *Meter

	timer *time.Timer // the owner's

	// In nanoseconds of the meter's clock; 0: never.
	due  atomic.Int64 // when the timer fires or should have fired
	busy atomic.Int64 // since when a callback has been running
	open atomic.Int32 // callbacks running now

	delay histogram // how late the timer was served
	calls histogram // how long callbacks took

	stalls atomic.Uint64 // delays and callbacks longer than Warn
	// lastStall is the wall clock's ns of the newest of them; 0: none.
	lastStall atomic.Int64

	// What the reporter has yet to say: reset when it does.
	unsaid      atomic.Uint64
	unsaidDelay atomic.Int64
	unsaidCall  atomic.Int64

	traced atomic.Int64 // when a trace was last asked for
}

// Name is the name in logs and metrics.
func (l *Loop) Name() string { return l.name }

// Tick is the channel of the loop's timer, which fires every 20 ms. Only the
// owner's goroutine calls it; the timer starts with the first call.
func (l *Loop) Tick() <-chan time.Time {
	if l.timer == nil {
		l.due.Store(l.meter.now() + int64(l.meter.cfg.Tick))
		l.timer = time.NewTimer(l.meter.cfg.Tick)
	}
	return l.timer.C
}

// Ticked notes that the timer was served, and sets it again. Only the owner's
// goroutine calls it, after a value came from Tick.
func (l *Loop) Ticked() {
	now := l.meter.now()
	late := time.Duration(max(0, now-l.due.Load()))
	l.delay.record(late)
	if late > l.meter.cfg.Warn {
		l.stalled(late, &l.unsaidDelay, l.due.Load())
	}
	l.due.Store(now + int64(l.meter.cfg.Tick))
	l.timer.Reset(l.meter.cfg.Tick)
}

// Enter notes that a callback begins; the function returned notes that it is
// done. It is small enough to be inlined, so that the function costs no memory
// where it is not kept:
//
//	defer loop.Enter()()
//
// Callbacks may overlap; that one of them comes to its end counts as progress.
func (l *Loop) Enter() (done func()) {
	mark := l.Begin()
	return func() { l.End(mark) }
}

// Begin and End are Enter and its function where that is kept and would cost memory: for
// loops that handle each packet. The mark, which is never 0, is for End.
func (l *Loop) Begin() (mark int64) {
	now := l.meter.now()
	if l.open.Add(1) == 1 {
		l.busy.Store(now)
	}
	return now
}

// End notes that what began at the mark is done.
func (l *Loop) End(mark int64) {
	now := l.meter.now()
	if l.open.Add(-1) > 0 {
		l.busy.Store(now)
	}
	took := time.Duration(now - mark)
	l.calls.record(took)
	if took > l.meter.cfg.Warn {
		l.stalled(took, &l.unsaidCall, mark)
	}
}

// stalled keeps what the reporter is to say, and wakes it.
func (l *Loop) stalled(d time.Duration, worst *atomic.Int64, since int64) {
	l.stalls.Add(1)
	l.lastStall.Store(time.Now().UnixNano())
	l.unsaid.Add(1)
	for {
		seen := worst.Load()
		if int64(d) <= seen || worst.CompareAndSwap(seen, int64(d)) {
			break
		}
	}
	l.meter.trace(l, d, since)
	l.meter.wakeReporter()
}

// late is for how long the timer has been waiting to be served, and since when
// on the meter's clock; 0 while it is not due.
func (l *Loop) late(now int64) (d time.Duration, since int64) {
	if since = l.due.Load(); since != 0 && now > since {
		return time.Duration(now - since), since
	}
	return 0, 0
}

// inside is for how long a callback has been running.
func (l *Loop) inside(now int64) (d time.Duration, since int64) {
	if since = l.busy.Load(); l.open.Load() > 0 && now > since {
		return time.Duration(now - since), since
	}
	return 0, 0
}

// held is for how long the loop has been making no progress at this moment.
func (l *Loop) held(now int64) time.Duration {
	late, _ := l.late(now)
	inside, _ := l.inside(now)
	return max(late, inside)
}

// Quantile is how late the loop's timer was served at most, in a share q of
// all cases (0.999), to 3.2 %.
func (l *Loop) Quantile(q float64) time.Duration { return l.delay.quantile(q) }

// Max is how late the loop's timer was ever served.
func (l *Loop) Max() time.Duration { return time.Duration(l.delay.max.Load()) }

// CallbackQuantile is Quantile for the durations of callbacks.
func (l *Loop) CallbackQuantile(q float64) time.Duration { return l.calls.quantile(q) }

// CallbackMax is the duration of the longest callback.
func (l *Loop) CallbackMax() time.Duration { return time.Duration(l.calls.max.Load()) }

// Stalls is how many delays and callbacks were longer than Config.Warn.
func (l *Loop) Stalls() uint64 { return l.stalls.Load() }

// Stop ends the measurement, takes the loop out of the metrics, and frees its
// name. Only the owner's goroutine calls it, when its loop has ended.
func (l *Loop) Stop() {
	if l.timer != nil {
		l.timer.Stop()
		l.due.Store(0)
	}
	l.meter.forget(l)
}
