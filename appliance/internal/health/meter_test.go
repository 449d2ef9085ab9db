package health

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// startMeter is a meter that runs, in a bubble of false time.
func startMeter(t *testing.T, cfg Config) (*Meter, *logBook, func()) {
	t.Helper()
	book := &logBook{}
	m, err := NewMeter(cfg, book.logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return m, book, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// serve is a control loop that does what it is sent.
func serve(l *Loop, work <-chan func()) {
	defer l.Stop()
	for {
		select {
		case <-l.Tick():
			l.Ticked()
		case f, ok := <-work:
			if !ok {
				return
			}
			done := l.Enter()
			f()
			done()
		}
	}
}

func TestLoopThatIsServedInTimeIsNeverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, book, stop := startMeter(t, Config{})
		work := make(chan func())
		l := m.Loop("live")
		go serve(l, work)
		time.Sleep(10 * time.Second)
		work <- func() { time.Sleep(10 * time.Millisecond) }
		time.Sleep(time.Second)
		if l.Max() != 0 && l.Max() > 10*time.Millisecond || l.Stalls() != 0 {
			t.Errorf("late by %s, %d stalls", l.Max(), l.Stalls())
		}
		if got := l.CallbackMax(); got != 10*time.Millisecond {
			t.Errorf("longest callback %s", got)
		}
		f := m.Figures()
		if len(f) != 2 || f[0].Loop != "live" || f[1].Loop != "runtime" || f[0].Ticks < 540 || f[0].Callbacks != 1 {
			t.Errorf("figures %+v", f)
		}
		if book.String() != "" {
			t.Errorf("logged: %s", book)
		}
		close(work)
		stop()
	})
}

func TestStallsAreMeasuredAndReportedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, book, stop := startMeter(t, Config{})
		work := make(chan func())
		l := m.Loop("live")
		go serve(l, work)
		time.Sleep(time.Second)
		for range 10 { // ten stalls of 80 ms in one second
			work <- func() { time.Sleep(80 * time.Millisecond) }
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if got := l.Max(); got < 60*time.Millisecond || got > 80*time.Millisecond {
			t.Errorf("late by %s, want nearly 80 ms", got)
		}
		if got := l.CallbackQuantile(0.5); got != 80*time.Millisecond {
			t.Errorf("median callback %s", got)
		}
		if l.Stalls() < 10 {
			t.Errorf("%d stalls", l.Stalls())
		}
		lines := strings.Split(strings.TrimSpace(book.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("want a warning at once and one with the repeats, got\n%s", book)
		}
		for _, line := range lines {
			if !strings.Contains(line, "loop=live") || !strings.Contains(line, "level=WARN") {
				t.Errorf("warning without the loop's name: %s", line)
			}
		}
		if !strings.Contains(lines[1], "times=") || !strings.Contains(lines[1], "callback=80ms") {
			t.Errorf("repeats are not counted: %s", lines[1])
		}
		close(work)
		stop()
	})
}

func TestLoopThatHangsIsReportedWhileItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, book, stop := startMeter(t, Config{Limit: 5 * time.Second})
		work := make(chan func())
		release := make(chan struct{})
		l := m.Loop("camera/front")
		go serve(l, work)
		time.Sleep(time.Second)
		work <- func() { <-release }
		time.Sleep(4 * time.Second)
		if h := m.Held(); len(h) != 0 {
			t.Errorf("called held before its limit: %v", h)
		}
		if status, _ := get(t, m); status != 200 {
			t.Errorf("healthz %d before the limit", status)
		}
		time.Sleep(4 * time.Second)
		h := m.Held()
		if len(h) != 1 || h[0].Loop != "camera/front" || h[0].For < 7900*time.Millisecond || h[0].For > 8*time.Second {
			t.Errorf("held: %v", h)
		}
		status, body := get(t, m)
		if status != 503 || !strings.Contains(body, `"reason":"control loop camera/front has made no progress for `) {
			t.Errorf("healthz %d %s", status, body)
		}
		if n := strings.Count(book.String(), "held_up_for="); n < 3 || n > 5 {
			t.Errorf("%d warnings in 8 s:\n%s", n, book)
		}
		close(release)
		time.Sleep(2 * time.Second)
		if status, body := get(t, m); status != 200 || !strings.Contains(body, `"name":"camera/front","ok":true,"state":"running"`) {
			t.Errorf("healthz %d %s after the loop moves again", status, body)
		}
		close(work)
		synctest.Wait()
		if f := m.Figures(); len(f) != 1 {
			t.Errorf("a stopped loop is still measured: %+v", f)
		}
		stop()
	})
}

func TestStallOfALoopThatEndsIsStillReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, book, stop := startMeter(t, Config{})
		done := m.runtime.Enter()
		time.Sleep(200 * time.Millisecond)
		done() // the reporter has spoken, and is silent for a second
		l := m.Loop("brief")
		done = l.Enter()
		time.Sleep(200 * time.Millisecond)
		done()
		l.Stop()
		time.Sleep(2 * time.Second)
		if s := book.String(); strings.Count(s, "loop=brief callback=200ms times=1") != 1 {
			t.Errorf("logged: %s", s)
		}
		stop()
	})
}

func TestCallbackWithoutTimerIsWatchedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, stop := startMeter(t, Config{Limit: time.Second})
		l := m.Loop("peers")
		time.Sleep(time.Minute)
		if h := m.Held(); len(h) != 0 {
			t.Errorf("a loop that was never entered is held: %v", h)
		}
		if _, body := get(t, m); !strings.Contains(body, `"name":"peers","ok":true,"state":"idle"`) {
			t.Errorf("healthz %s", body)
		}
		first, second := l.Enter(), l.Enter()
		time.Sleep(900 * time.Millisecond)
		second() // progress, though the first still runs
		time.Sleep(900 * time.Millisecond)
		if h := m.Held(); len(h) != 0 {
			t.Errorf("held, though a callback ended: %v", h)
		}
		time.Sleep(time.Second)
		if h := m.Held(); len(h) != 1 || h[0].Loop != "peers" {
			t.Errorf("a callback that hangs is not seen: %v", h)
		}
		first()
		if h := m.Held(); len(h) != 0 {
			t.Errorf("held with no callback running: %v", h)
		}
		stop()
	})
}

func TestTimerStartsWhenTheOwnerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, stop := startMeter(t, Config{})
		l := m.Loop("late to start")
		time.Sleep(time.Hour)
		work := make(chan func())
		go serve(l, work)
		time.Sleep(time.Second)
		if l.Max() > 0 {
			t.Errorf("the time before the loop began was counted: %s", l.Max())
		}
		close(work)
		stop()
	})
}

func TestNamesStayApart(t *testing.T) {
	m, err := NewMeter(Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := m.Loop("x"), m.Loop("x"), m.Loop("x")
	if a.Name() != "x" || b.Name() != "x#2" || c.Name() != "x#3" {
		t.Errorf("%s %s %s", a.Name(), b.Name(), c.Name())
	}
	a.Stop()
	if d := m.Loop("x"); d.Name() != "x" {
		t.Errorf("the name is not free again: %s", d.Name())
	}
}

func TestNewMeterRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, cfg := range map[string]Config{
		"negative":         {Warn: -1},
		"no folder":        {Trace: time.Second},
		"folder in a file": {Trace: time.Second, TraceDir: "/dev/null/x"},
	} {
		if _, err := NewMeter(cfg, log, prometheus.NewRegistry()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	reg := prometheus.NewRegistry()
	if _, err := NewMeter(Config{}, log, reg); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMeter(Config{}, log, reg); err == nil {
		t.Error("a second meter in one registry was accepted")
	}
}

func TestMeasuringAllocatesNothing(t *testing.T) {
	m, err := NewMeter(Config{Tick: time.Hour}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l := m.Loop("x")
	l.Tick()
	defer l.Stop()
	if n := testing.AllocsPerRun(1000, func() { done := l.Enter(); done() }); n != 0 {
		t.Errorf("Enter allocates %g times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Tick(); l.Ticked() }); n != 0 {
		t.Errorf("Ticked allocates %g times", n)
	}
}

func get(t *testing.T, m *Meter) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if !json.Valid(w.Body.Bytes()) {
		t.Errorf("not JSON: %s", w.Body)
	}
	return w.Code, w.Body.String()
}

func BenchmarkEnter(b *testing.B) {
	m, err := NewMeter(Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	l := m.Loop("x")
	b.ReportAllocs()
	for b.Loop() {
		done := l.Enter()
		done()
	}
}

func BenchmarkTicked(b *testing.B) {
	m, err := NewMeter(Config{Tick: time.Hour}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	l := m.Loop("x")
	defer l.Stop()
	b.ReportAllocs()
	for b.Loop() {
		l.Tick()
		l.Ticked()
	}
}
