package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The kinds of failures; each is wrapped by an error that says what to do.
var (
	// ErrUnreachable: the box did not answer for as long as Options.Patience.
	ErrUnreachable = errors.New("box unreachable")
	// ErrRefused: the box does not take the file, or not from this person.
	ErrRefused = errors.New("refused by the box")
	// ErrFile: the file cannot be read, or changed while it was pushed.
	ErrFile = errors.New("file")
	// ErrAnalysis: the file is there, but its analysis failed.
	ErrAnalysis = errors.New("analysis failed")
	// ErrOutput: the results cannot be written here.
	ErrOutput = errors.New("output")
)

// Settings are how the box is to analyse the files; zero values: its own choice.
type Settings struct {
	Model     string
	Threshold float32
	Classes   []string
	Priority  int
	Track     int
	NoVideo   bool
}

// Options are what Run is asked for.
type Options struct {
	Box      string // base URL, "http://box.local:8080"
	Password string // "": none
	Settings Settings
	// Wait for the analysis, and put its results into Out, a folder for each
	// file, unless Out is empty.
	Wait bool
	Out  string
	// Parallel is how many files are on their way at once (3); those that wait for
	// their analysis do not count.
	Parallel int
	// Patience is how long a box may be away before a file is given up (5 min).
	Patience time.Duration
	// Memory is the file that remembers unfinished uploads; "": none is kept.
	Memory string
	// Watch is told of every change, from several goroutines; nil: nobody.
	Watch func(Progress)
}

// Outcome is what became of one file.
type Outcome struct {
	File   string
	Upload string // the box's id
	Job    string // the analysis; empty if none was waited for
	Out    string // where the results are
	Err    error  // nil: done
}

// Run pushes files and returns an outcome for each, in their order. It returns
// early only when ctx ends; what is unfinished then can be gone on with.
func Run(ctx context.Context, o Options, files []string) ([]Outcome, error) {
	if o.Parallel <= 0 {
		o.Parallel = 3
	}
	if o.Patience <= 0 {
		o.Patience = 5 * time.Minute
	}
	if o.Watch == nil {
		o.Watch = func(Progress) {}
	}
	base, err := baseURL(o.Box)
	if err != nil {
		return nil, err
	}
	p := &pusher{o: o, box: newBox(base, o.Password), memory: openMemory(o.Memory), sending: make(chan struct{}, o.Parallel)}
	p.box.http.Transport = transport(o.Parallel)
	defer p.box.http.CloseIdleConnections()
	folders := folderNames(o.Out, files)
	out := make([]Outcome, len(files))
	var wg sync.WaitGroup
	for i, f := range files {
		select {
		case p.sending <- struct{}{}: // in the order in which they were given
			wg.Go(func() { out[i] = p.push(ctx, f, folders[i]) })
		case <-ctx.Done():
			out[i] = Outcome{File: f, Err: ctx.Err()}
		}
	}
	wg.Wait()
	if !slices.ContainsFunc(out, unfinished) {
		// The same files, pushed again, are meant to be analysed again.
		p.memory.forget(p.finished...)
	}
	return out, ctx.Err()
}

// unfinished tells of a file with which the same command, run again, goes on.
func unfinished(o Outcome) bool {
	return o.Err != nil && !errors.Is(o.Err, ErrRefused) && !errors.Is(o.Err, ErrAnalysis) && !errors.Is(o.Err, ErrFile)
}

// transport keeps a connection for each file that is on its way, and gives up on
// a peer that is gone without a word.
func transport(parallel int) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = parallel + 1
	t.ResponseHeaderTimeout = 2 * time.Minute // a slow disk syncs a last batch
	t.ExpectContinueTimeout = 2 * time.Second
	t.WriteBufferSize = 256 << 10
	return t
}

func baseURL(box string) (*url.URL, error) {
	if !strings.Contains(box, "://") {
		box = "http://" + box
	}
	u, err := url.Parse(strings.TrimRight(box, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %q is no address of a box; write it as http://HOST:PORT", ErrRefused, box)
	}
	return u, nil
}

// folderNames are where each file's results go: the file's name, with a number
// behind it where several files are called the same.
func folderNames(out string, files []string) []string {
	names := make([]string, len(files))
	taken := map[string]bool{}
	for i, f := range files {
		base := filepath.Base(f)
		name := base
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[name] = true
		if out != "" {
			names[i] = filepath.Join(out, name)
		}
	}
	return names
}

// pusher is one Run.
type pusher struct {
	o      Options
	box    *box
	memory *memory
	// sending has as many places as files may be on their way.
	sending chan struct{}
	waiting atomic.Int64 // files that wait for their analysis

	mu sync.Mutex
	// finished are the keys of files that are through. They are remembered until all
	// are, so that a command that is run again sends none of them twice.
	finished []string
}

// push takes one file all the way. It holds a place in sending until the box has
// the file.
func (p *pusher) push(ctx context.Context, path, folder string) Outcome {
	arrived := sync.OnceFunc(func() { <-p.sending })
	defer arrived()
	out := Outcome{File: path}
	f, err := openFile(path)
	if err != nil {
		out.Err = err
		p.o.Watch(Progress{File: path, Stage: Failed, Err: err})
		return out
	}
	defer f.Close()
	show := newMeter(path, f.size, p.o.Watch)
	key := memoryKey(p.box.base.String(), f, p.o.Settings)
	out.Upload = p.memory.get(key)
	err = p.send(ctx, f, &out, key, show)
	arrived()
	if err == nil && p.o.Wait {
		err = p.await(ctx, &out, folder, show)
	}
	out.Err = err
	switch {
	case err == nil:
		p.mu.Lock()
		p.finished = append(p.finished, key)
		p.mu.Unlock()
		show.stage(Done, nil)
	case errors.Is(err, ErrRefused), errors.Is(err, ErrAnalysis):
		p.memory.forget(key) // asking again would end the same
		show.stage(Failed, err)
	default:
		show.stage(Failed, err)
	}
	return out
}

// source is a file while it is pushed.
type source struct {
	*os.File
	path  string
	size  int64
	mtime time.Time
}

func openFile(path string) (*source, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: there is no such file", ErrFile, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrFile, err)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s is not a file", ErrFile, path)
	case info.Size() == 0:
		err = fmt.Errorf("%w: %s is empty", ErrFile, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{File: f, path: path, size: info.Size(), mtime: info.ModTime()}, nil
}

// changed tells whether the file is another than at the start.
func (s *source) changed() error {
	info, err := s.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if info.Size() != s.size || !info.ModTime().Equal(s.mtime) {
		return fmt.Errorf("%w: %s changed while it was pushed: push it again", ErrFile, s.path)
	}
	return nil
}
