package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/announce"
	"github.com/watchpost/watchpost/appliance/internal/push"
)

// ErrBox is the kind of error of a box that does not answer or refuses.
var ErrBox = errors.New("box")

// PushOptions are what Program.Push is asked for.
type PushOptions struct {
	Files []string
	// Box is a URL, the name of a box in this network, or empty: the one that is there.
	Box          string
	PasswordFile string
	Password     string
	Wait         bool
	Out          string
	Parallel     int
	Patience     time.Duration
	Model        string
	Threshold    float32
	Classes      []string
	Priority     int
	Track        int
	NoVideo      bool
	Quiet        bool
}

// discovery is how long boxes of this network have to answer.
const discovery = 3 * time.Second

// Push brings files to a box. Its error is that of the worst outcome; all are told.
func (p Program) Push(ctx context.Context, o PushOptions) error {
	if err := checkPush(&o); err != nil {
		return err
	}
	memory := ""
	if dir, err := os.UserCacheDir(); err == nil {
		memory = filepath.Join(dir, "watchpost", "push.json")
	}
	display := push.NewDisplay(os.Stderr, columnsOf(os.Stderr))
	watch := display.Watch
	if o.Quiet {
		watch = nil
	}
	url, err := findBox(ctx, o)
	if err != nil {
		return err
	}
	outcomes, err := push.Run(ctx, push.Options{
		Box: url, Password: o.Password, Wait: o.Wait, Out: o.Out, Parallel: o.Parallel, Patience: o.Patience, Memory: memory, Watch: watch,
		Settings: push.Settings{
			Model: o.Model, Threshold: o.Threshold, Classes: o.Classes, Priority: o.Priority, Track: o.Track, NoVideo: o.NoVideo,
		},
	}, o.Files)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "interrupted: the box goes on with what it has; run the same command again to go on with the rest")
	}
	if err != nil {
		return pushError(err)
	}
	shown := !o.Quiet && columnsOf(os.Stderr) != nil
	return told(outcomes, url, shown)
}

func checkPush(o *PushOptions) error {
	if len(o.Files) == 1 { // of several, the others are pushed all the same
		if _, err := os.Stat(o.Files[0]); errors.Is(err, os.ErrNotExist) {
			return of(ErrInput, "%s: there is no such file", legible(o.Files[0]))
		}
	}
	if !(o.Threshold >= 0 && o.Threshold <= 1) || o.Parallel < 0 || o.Track < 0 || o.Patience < 0 || o.Priority < -100 || o.Priority > 100 {
		return of(ErrUsage, "--threshold is 0 to 1, --priority -100 to 100; --parallel, --track and --patience are not negative")
	}
	if o.Out != "" {
		o.Wait = true // there is nothing to fetch before the end
		if err := os.MkdirAll(o.Out, 0o755); err != nil {
			return of(ErrOutput, "make the results folder: %v", err)
		}
	}
	if o.PasswordFile != "" {
		data, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return of(ErrUsage, "read the box's password: %v", err)
		}
		o.Password, _, _ = strings.Cut(string(data), "\n")
		o.Password = strings.TrimSpace(o.Password)
	}
	return nil
}

// findBox is the URL of the box that o means: a box on this machine answers for
// itself, others are asked for by multicast DNS.
func findBox(ctx context.Context, o PushOptions) (string, error) {
	if strings.ContainsAny(o.Box, ":/.") || o.Box == "localhost" {
		return o.Box, nil
	}
	if o.Box == "" {
		const here = "http://127.0.0.1:8080"
		if push.Answers(ctx, here) {
			return here, nil
		}
	}
	if !o.Quiet {
		fmt.Fprintln(os.Stderr, "looking for boxes in this network…")
	}
	boxes, err := announce.Find(ctx, discovery, o.Box)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", of(ErrBox, "%v; name the box with --box URL", err)
	case o.Box != "":
		for _, b := range boxes {
			if strings.EqualFold(b.Name, o.Box) {
				return b.URL, nil
			}
		}
		return "", of(ErrBox, "no box called %s answers in this network; name its address with --box http://HOST:8080", o.Box)
	case len(boxes) == 0:
		return "", of(ErrBox, "no box answers in this network, nor on this machine; name its address with --box http://HOST:8080")
	case len(boxes) > 1:
		names := make([]string, len(boxes))
		for i, b := range boxes {
			names[i] = fmt.Sprintf("%q (%s)", b.Name, b.URL)
		}
		return "", of(ErrUsage, "several boxes answer; choose one with --box NAME: %s", strings.Join(names, ", "))
	}
	if !o.Quiet {
		fmt.Fprintf(os.Stderr, "found %s at %s\n", boxes[0].Name, boxes[0].URL)
	}
	return boxes[0].URL, nil
}

// told says what became of each file, and returns the error that decides the
// exit code: the first in the order in which a person would care. On a terminal it
// was shown when a file failed, and why.
func told(outcomes []push.Outcome, url string, shown bool) error {
	var worst error
	failed := 0
	for _, r := range outcomes {
		name := legible(filepath.Base(r.File))
		switch {
		case r.Err != nil:
			failed++
			if !shown && len(outcomes) > 1 { // of one alone the error tells
				fmt.Printf("%s: FAILED: %v\n", name, r.Err)
			}
			if err := pushError(fmt.Errorf("%s: %w", name, r.Err)); worst == nil || rank(err) > rank(worst) {
				worst = err
			}
		case r.Out != "":
			fmt.Printf("%s: %s\n", name, r.Out)
		case r.Job != "":
			fmt.Printf("%s: %s/files/%s\n", name, url, r.Job)
		default:
			fmt.Printf("%s: the box has it and analyses it: %s/files\n", name, url)
		}
	}
	if worst == nil || len(outcomes) == 1 {
		return worst
	}
	return kindError{worst, fmt.Errorf("%d of %d files failed", failed, len(outcomes))}
}

// rank orders errors: a box that is not there counts more than one bad file.
func rank(err error) int {
	for i, kind := range []error{ErrInput, ErrUsage, ErrOutput, ErrBox, context.Canceled} {
		if errors.Is(err, kind) {
			return i
		}
	}
	return -1
}

func pushError(err error) error {
	switch {
	case errors.Is(err, push.ErrFile), errors.Is(err, push.ErrAnalysis):
		return kindError{ErrInput, err}
	case errors.Is(err, push.ErrOutput):
		return kindError{ErrOutput, err}
	case errors.Is(err, push.ErrUnreachable), errors.Is(err, push.ErrRefused):
		return kindError{ErrBox, err}
	}
	return err
}

// columnsOf returns a function that knows the width of f's terminal; nil: f is none.
func columnsOf(f *os.File) func() int {
	size := func() (*unix.Winsize, error) { return unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ) }
	if _, err := size(); err != nil {
		return nil
	}
	return func() int {
		if s, err := size(); err == nil && s.Col > 0 {
			return int(s.Col)
		}
		return 80
	}
}
