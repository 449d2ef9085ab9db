package camera

import (
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

func TestPauses(t *testing.T) {
	b := Backoff{}.withDefaults()
	for n, want := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
		if got := b.pause(n, 0.5); got != want {
			t.Errorf("pause %d is %v, want %v", n, got, want)
		}
		if lo, hi := b.pause(n, 0), b.pause(n, 1); lo != want*8/10 || hi != want*12/10 {
			t.Errorf("pause %d is spread from %v to %v, want ±20 %% of %v", n, lo, hi, want)
		}
	}
	if got := b.pause(1<<40, 0.5); got != 30*time.Second {
		t.Errorf("after very many failures: %v", got)
	}
	if got := (Backoff{Jitter: -1}).withDefaults().pause(1, 0); got != 250*time.Millisecond {
		t.Errorf("without jitter: %v", got)
	}
}

func TestHistory(t *testing.T) {
	b := Backoff{Jitter: -1}.withDefaults()
	plain := &link.Exit{}
	var h history
	ends := func(e event, didPlay bool, runtime time.Duration) (time.Duration, bool) {
		loop := h.ends(e, didPlay, runtime)
		if loop {
			e = crashed
		}
		return h.pause(b, e, plain, 0.5), loop
	}
	expect := func(what string, got time.Duration, loop bool, want time.Duration, wantLoop bool) {
		t.Helper()
		if got != want || loop != wantLoop {
			t.Errorf("%s: pause %v, crash loop %v; want %v, %v", what, got, loop, want, wantLoop)
		}
	}
	d, l := ends(died, true, 5*time.Second)
	expect("the first hiccup", d, l, 0, false)
	d, l = ends(died, true, time.Second)
	expect("another within the healthy time", d, l, 250*time.Millisecond, false)
	h.healthy()
	d, l = ends(died, true, time.Minute)
	expect("after a healthy run", d, l, 0, false)

	h = history{}
	d, l = ends(failed, false, time.Second)
	expect("a source that never played", d, l, 250*time.Millisecond, false)
	for range 20 {
		d, l = ends(failed, false, time.Second)
	}
	expect("a source long away", d, l, 30*time.Second, false)

	h = history{}
	ends(died, false, time.Second)
	ends(died, false, time.Second)
	ends(failed, false, time.Second) // a reason in between is no death at once
	_, l = ends(died, false, time.Second)
	if l {
		t.Error("deaths that do not follow one another are no crash loop")
	}
	ends(died, false, time.Second)
	d, l = ends(died, false, time.Second)
	if !l || d < crashPause {
		t.Errorf("three deaths at once: pause %v, crash loop %v", d, l)
	}

	h = history{}
	for i := 1; i < anyDeaths; i++ {
		if _, l := ends(died, true, 5*time.Second); l {
			t.Fatalf("a crash loop after %d deaths that had played", i)
		}
	}
	if _, l := ends(died, true, 5*time.Second); !l {
		t.Errorf("%d deaths without one healthy run are no crash loop", anyDeaths)
	}

	h = history{}
	h.ends(failed, true, time.Minute)
	if d := h.pause(b, failed, &link.Exit{Fault: &link.Fault{Kind: link.FaultRefused}}, 0.5); d != b.Max {
		t.Errorf("a refused sign-in is tried again after %v", d)
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(0, 0)
	if l.due(now) {
		t.Error("due without a request")
	}
	made := 0
	for ms := 0; ms < 3000; ms += 10 {
		if ms < 1500 {
			l.pending = true
		}
		if l.due(now.Add(time.Duration(ms) * time.Millisecond)) {
			made++
		}
	}
	if made != 3 { // at 0 and 1 s, and what came until 1.5 s at 2 s
		t.Errorf("%d requests went through in 3 s, want 3", made)
	}
}

func TestLedgerSums(t *testing.T) {
	run := link.Ledger{Decoded: 21, Inferred: 1, SkippedMotion: 2, SkippedRate: 3, SkippedHeat: 4, Dropped: 5, Failed: 2, Pending: 4, PicturesSent: 8, PicturesLate: 9, DecoderErrors: 10}
	if !run.Balanced() {
		t.Fatal("the test's own ledger does not balance")
	}
	over := closed(run)
	if over.Pending != 0 || over.Failed != 6 || !over.Balanced() {
		t.Errorf("a run that is over: %+v", over)
	}
	sum := add(over, run)
	want := link.Ledger{Decoded: 42, Inferred: 2, SkippedMotion: 4, SkippedRate: 6, SkippedHeat: 8, Dropped: 10, Failed: 8, Pending: 4, PicturesSent: 16, PicturesLate: 18, DecoderErrors: 20}
	if sum != want || !sum.Balanced() {
		t.Errorf("sum %+v, want %+v", sum, want)
	}
}
