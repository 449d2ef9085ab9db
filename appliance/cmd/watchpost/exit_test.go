package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("what was not foreseen"), exitInternal},
		{context.DeadlineExceeded, exitInternal},
		{context.Canceled, exitInterrupted},
		{fmt.Errorf("fetch the model: %w", context.Canceled), exitInterrupted},
		{app.ErrUsage, exitUsage},
		{fmt.Errorf("clip.mp4: %w", app.ErrInput), exitInput},
		{app.ErrModel, exitModel},
		{app.ErrOutput, exitOutput},
		{fmt.Errorf("box.yaml: %w", app.ErrConfig), exitConfig},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// said is what a function writes to standard output and standard error.
func said(t *testing.T, f func()) (out, errs string) {
	t.Helper()
	dir := t.TempDir()
	swap := func(std **os.File, name string) func() string {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		old := *std
		*std = f
		return func() string {
			*std = old
			defer f.Close()
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	o, e := swap(&os.Stdout, "out"), swap(&os.Stderr, "err")
	f()
	return o(), e()
}

// Whole command lines, with what scripts rely on: the exit code, and what is on
// which stream.
func TestCommandLines(t *testing.T) {
	t.Setenv("WATCHPOST_DATA", filepath.Join(t.TempDir(), "data"))
	t.Chdir(t.TempDir())
	write := func(name, text string) string {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("good.yaml", "cameras:\n  - {id: gate, source: \"demo:\"}\n")
	bad := write("bad.yaml", "cameras:\n  - {id: gate, sauce: \"demo:\"}\n")
	clip := write("clip.mp4", "no video")
	for _, c := range []struct {
		args     []string
		want     int
		out, err string // part of it; empty: nothing is there
	}{
		{[]string{"version"}, exitOK, "watchpost dev", ""},
		{[]string{"config", "check", good}, exitOK, "good, 1 camera", ""},
		{[]string{"config", "check", bad}, exitConfig, "", "bad.yaml:2:"},
		{[]string{"config", "check", "none.yaml"}, exitConfig, "", "none.yaml"},
		{[]string{"config", "schema"}, exitOK, "$schema", ""},
		{[]string{"model", "list"}, exitOK, "model install", ""},
		{[]string{"model", "check", "none"}, exitModel, "", "none"},
		{[]string{"model", "install", "none.onnx"}, exitModel, "", "watchpost: "},
		{[]string{"analyze", "none.mp4", "--out", "out"}, exitInput, "", "none.mp4"},
		{[]string{"analyze", clip}, exitUsage, "", "--out"},
		{[]string{"analyze", clip, "--out", "out", "--threshold", "NaN"}, exitUsage, "", "--threshold"},
		{[]string{"analyze", clip, "--out", "out", "--model", "none"}, exitModel, "", "none"},
		{[]string{"analyze", clip, "--out", clip, "--model", "motion"}, exitOutput, "", "results folder"},
		{[]string{"run", "--config", bad}, exitConfig, "", "sauce"},
		{[]string{"run", "--source", "none.mp4"}, exitInput, "", "none.mp4"},
		{[]string{"worker"}, exitUsage, "", "never by hand"},
		{[]string{"fly"}, exitUsage, "", "--help"},
		{nil, exitUsage, "", "expected"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var code int
			out, errs := said(t, func() { code = run(c.args) })
			if code != c.want {
				t.Errorf("exit code %d, want %d", code, c.want)
			}
			for _, s := range []struct{ got, want, name string }{{out, c.out, "output"}, {errs, c.err, "error"}} {
				if !strings.Contains(s.got, s.want) || s.want == "" && s.got != "" {
					t.Errorf("standard %s is %q, want %q", s.name, s.got, s.want)
				}
			}
		})
	}
}
