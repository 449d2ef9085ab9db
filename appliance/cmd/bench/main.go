// Command bench measures Watchpost: scripts/bench NAME…|all.
//
// Each measurement is one JSON line with the goal of the issue that asked for
// it. Comparisons are ratios within one run, since machines are noisy.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/live/livebench"
	"github.com/watchpost/watchpost/hw/accel"
)

// benchmark is one name on the command line.
type benchmark struct {
	name string
	run  func(context.Context, *bench) error
}

func benchmarks() []benchmark {
	return []benchmark{
		{"accuracy", accuracy},
		{"analyze", analyze},
		{"live", liveRoad},
		{"fanout", fanout},
		{"start", start},
		{"upload-http", uploadHTTP},
		{"upload-datachannel", uploadChannel},
		{"upload-many", uploadMany},
		{"crash", crashRounds},
		{"session", session},
		{"setup", setup},
		{"soak", soakSessions},
		{"stall", stall},
	}
}

func main() {
	if livebench.IsClient() {
		os.Exit(livebench.ClientMain())
	}
	for env, serve := range map[string]func(string) error{tusdEnv: serveTusd, pionEnv: servePion, timerEnv: serveTimer, loadEnv: serveLoad, loopEnv: serveLoop} {
		if v := os.Getenv(env); v != "" {
			if err := serve(v); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(run(os.Args[1:], os.Stdout))
}

func run(names []string, out io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	all := benchmarks()
	var chosen []benchmark
	for _, n := range names {
		if n == "all" {
			chosen = all
			break
		}
		i := slices.IndexFunc(all, func(b benchmark) bool { return b.name == n })
		if i < 0 {
			var known []string
			for _, b := range all {
				known = append(known, b.name)
			}
			fmt.Fprintf(os.Stderr, "bench: there is no %q: there are %s, all\n", n, strings.Join(known, ", "))
			return 2
		}
		chosen = append(chosen, all[i])
	}
	b, err := newBench(out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	defer os.RemoveAll(b.tmp)
	for _, c := range chosen {
		b.name = c.name
		if err := c.run(ctx, b); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", c.name, err)
			b.failed = true
		}
	}
	if b.failed {
		return 1
	}
	return 0
}

// bench is what the benchmarks share.
type bench struct {
	name   string
	out    *json.Encoder
	failed bool
	log    *slog.Logger
	data   string // the data folder: models, runtime, plugin registry
	media  string // videos and labelled pictures
	binary string // bin/watchpost
	tmp    string

	runtime *accel.Runtime
}

func newBench(out io.Writer) (*bench, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	b := &bench{
		out: json.NewEncoder(out), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		data: env("WATCHPOST_DATA", filepath.Join(root, "data")), media: env("WATCHPOST_MEDIA", filepath.Join(root, "..", "shared", "media")),
		binary: env("WATCHPOST_BINARY", filepath.Join(root, "bin", "watchpost")),
	}
	for _, p := range []string{b.media, b.binary} {
		if _, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("%w (WATCHPOST_MEDIA names the folder of videos, scripts/setup builds the program)", err)
		}
	}
	b.out.SetEscapeHTML(false) // ">=" is to be read by people
	b.tmp, err = os.MkdirTemp("", "watchpost-bench-")
	return b, err
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// moduleRoot is the folder above this one that has go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("run it inside the checkout: no go.mod found")
		}
		dir = up
	}
}

// measurement is one line of the output.
type measurement struct {
	Bench  string  `json:"bench"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Goal in words ("<= 4"); empty: the value is told, not judged.
	Goal string `json:"goal"`
	Pass bool   `json:"pass"`
}

// goal is what a value is held against.
type goal struct {
	text string
	met  func(v float64) bool
}

func atMost(limit float64) goal {
	return goal{fmt.Sprintf("<= %.4g", limit), func(v float64) bool { return v <= limit }}
}

func atLeast(limit float64) goal {
	return goal{fmt.Sprintf(">= %.4g", limit), func(v float64) bool { return v >= limit }}
}

func within(of, tolerance float64) goal {
	return goal{fmt.Sprintf("%.4g +- %.4g", of, tolerance), func(v float64) bool { return v >= of-tolerance && v <= of+tolerance }}
}

// told marks a value that explains another and has no goal of its own.
func told() goal { return goal{"", func(float64) bool { return true }} }

func (b *bench) report(metric string, value float64, unit string, g goal) {
	m := measurement{Bench: b.name, Metric: metric, Value: round(value), Unit: unit, Goal: g.text, Pass: g.met(value)}
	if !m.Pass {
		b.failed = true
	}
	// Standard output that is gone ends the run by itself.
	_ = b.out.Encode(m)
}

// round keeps four significant digits of small values: more would be noise.
func round(v float64) float64 {
	scale := 1e4
	if v >= 1000 || v <= -1000 {
		scale = 10
	}
	if v < 0 {
		return float64(int64(v*scale-0.5)) / scale
	}
	return float64(int64(v*scale+0.5)) / scale
}
