package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/media"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// loopEnv makes this program a process with one loop: a loopOrder.
const loopEnv = "WATCHPOST_BENCH_LOOP"

// loopOrder is what the loop does: nothing but wait for a timer, or open and decode
// Film, as the predecessor did.
type loopOrder struct{ Film, Registry string }

// lateness is how late a timer was served, in ms.
type lateness struct{ P50, P99, P999, Max float64 }

// oldLoopReport is how long the predecessor's loop was blocked, in ms, and the memory that
// an upload took, in MB.
type oldLoopReport struct{ Open, Write, Memory float64 }

// serveLoop prints a lateness, or an oldLoopReport, once standard input ends.
func serveLoop(order string) error {
	var o loopOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	var result any
	if o.Film == "" {
		result = onlyWait()
	} else {
		err := engine.Start(engine.Options{Registry: o.Registry, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		if result, err = blockingLoop(o.Film); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// onlyWait is what the machine itself does to whoever waits for a timer of 1 ms.
func onlyWait() lateness {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	const period = time.Millisecond
	late := make([]float64, 0, 1<<17)
	timer := time.NewTimer(period)
	for due := time.Now().Add(period); ; due = time.Now().Add(period) {
		select {
		case <-ended:
			slices.Sort(late)
			at := func(q float64) float64 { return late[min(len(late)-1, int(q*float64(len(late))))] }
			return lateness{at(0.5), at(0.99), at(0.999), late[len(late)-1]}
		case <-timer.C:
			late = append(late, 1000*time.Since(due).Seconds())
			timer.Reset(period)
		}
	}
}

// blockingLoop opens a film and decodes its first frame between two ticks, a few times, and
// writes an upload that it held in memory: each is one call that the loop waits for.
func blockingLoop(film string) (r oldLoopReport, err error) {
	const rounds = 5
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	longest := func(work func() error) (ms float64, err error) {
		last := time.Now()
		for i := 0; i < 20 && err == nil; i++ {
			if i == 10 {
				err = work()
			}
			<-tick.C
			ms = max(ms, 1000*(time.Since(last)-10*time.Millisecond).Seconds())
			last = time.Now()
		}
		return ms, err
	}
	for range rounds {
		ms, err := longest(func() error { return firstFrame(film) })
		if err != nil {
			return r, err
		}
		r.Open = max(r.Open, ms)
	}
	before := rssOf(os.Getpid())
	held := make([][]byte, 0, stallSize/(48<<10)+1)
	for n := 0; n < stallSize; n += 48 << 10 {
		held = append(held, bytes.Repeat([]byte{byte(n >> 16)}, 48<<10))
	}
	r.Memory = float64(rssOf(os.Getpid())-before) / 1e6
	path := filepath.Join(os.TempDir(), fmt.Sprintf("watchpost-bench-loop-%d", os.Getpid()))
	defer os.Remove(path)
	r.Write, err = longest(func() error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		for _, chunk := range held {
			if _, err := f.Write(chunk); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		return f.Close()
	})
	return r, err
}

// firstFrame opens a film, decodes a frame and closes it.
func firstFrame(film string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	n := 0
	err := engine.Read(ctx, plan.Source{URL: film}, engine.Handlers{
		Info: func(engine.Info) {}, Warning: func(string) {},
		Frame: func(f *engine.Frame) { f.Release(); n++; stop() },
	})
	if n == 0 {
		return fmt.Errorf("no frame: %w", err)
	}
	return nil
}

// looper is a process with one loop.
type looper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out bytes.Buffer
}

func startLooper(ctx context.Context, o loopOrder) (*looper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	l := &looper{cmd: exec.CommandContext(ctx, self)}
	l.cmd.Env = append(os.Environ(), loopEnv+"="+string(order))
	l.cmd.Stdout, l.cmd.Stderr = &l.out, os.Stderr
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return l, l.cmd.Start()
}

func (l *looper) finish(into any) error {
	_ = l.in.Close()
	if err := l.cmd.Wait(); err != nil {
		return fmt.Errorf("a loop: %w", err)
	}
	if err := json.Unmarshal(l.out.Bytes(), into); err != nil {
		return fmt.Errorf("a loop's report %q: %w", l.out.Bytes(), err)
	}
	return nil
}

func (l *looper) kill() { _ = l.cmd.Process.Kill() } // it has ended, as a rule

// startWait starts onlyWait in a process of its own, of the control process's niceness.
func (b *bench) startWait(ctx context.Context) (*looper, error) { return startLooper(ctx, loopOrder{}) }

func (l *looper) end() (late lateness, err error) { return late, l.finish(&late) }

// oldLoop runs blockingLoop in a process of its own.
func (b *bench) oldLoop(ctx context.Context, film string) (r oldLoopReport, err error) {
	l, err := startLooper(ctx, loopOrder{Film: film, Registry: filepath.Join(b.data, media.RegistryFile)})
	if err != nil {
		return r, err
	}
	return r, l.finish(&r)
}
