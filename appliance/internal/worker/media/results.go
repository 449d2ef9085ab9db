package media

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// The files of a results folder. Each is written beside its name and renamed
// once it is whole and synced; the summary comes last, so that a folder that has
// one is complete.
const (
	detectionsName = "detections.jsonl"
	annotatedName  = "annotated.mp4"
	summaryName    = "summary.json"
	partSuffix     = ".part"
)

// maxWarnings bounds what a hostile file can make the summary hold.
const maxWarnings = 50

// results is the folder that an analysis of a file fills.
type results struct {
	dir string

	mu       sync.Mutex
	file     *os.File
	buf      *bufio.Writer
	enc      *json.Encoder
	finished bool
	warnings []string
	repeated int
	sizes    int // how often the stream's size was announced
	classes  map[string]*classSummary
	seen     map[int]bool
	objects  uint64
}

func newResults(dir string) (*results, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the results folder: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, detectionsName+partSuffix))
	if err != nil {
		return nil, fmt.Errorf("write results: %w", err)
	}
	buf := bufio.NewWriterSize(f, 64<<10)
	return &results{
		dir: dir, file: f, buf: buf, enc: json.NewEncoder(buf),
		classes: map[string]*classSummary{}, seen: map[int]bool{},
	}, nil
}

// frameRecord is one line of detections.jsonl: one analysed frame. Coordinates
// are pixels of the frame as shown (rotation applied), edges.
type frameRecord struct {
	Frame   uint64        `json:"frame"`   // decoded frames, from 1
	Seconds float64       `json:"seconds"` // presentation time
	Width   int           `json:"width"`
	Height  int           `json:"height"`
	Objects []link.Object `json:"objects"`
}

// add writes one frame's line.
func (r *results) add(d link.Detections) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects += uint64(len(d.Objects))
	for _, o := range d.Objects {
		c := r.classes[o.Label]
		if c == nil {
			c = &classSummary{}
			r.classes[o.Label] = c
		}
		c.Boxes++
		if !r.seen[o.ID] {
			r.seen[o.ID] = true
			c.Tracks++
		}
	}
	err := r.enc.Encode(frameRecord{Frame: d.Frame, Seconds: d.PTS.Seconds(), Width: d.Width, Height: d.Height, Objects: d.Objects})
	if err != nil {
		return fmt.Errorf("write %s: %w", detectionsName, err)
	}
	return nil
}

// info notes a stream that changes its size on the way.
func (r *results) info(i engine.Info) {
	r.mu.Lock()
	r.sizes++
	n := r.sizes
	r.mu.Unlock()
	if n > 1 {
		r.warn(fmt.Sprintf("the stream changed to %s %dx%d", i.Codec, i.Width, i.Height))
	}
}

func (r *results) warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text = oneLine(text)
	if n := len(r.warnings); n > 0 && r.warnings[n-1] == text || n >= maxWarnings {
		r.repeated++
		return
	}
	r.warnings = append(r.warnings, text)
}

func (r *results) listWarnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := append([]string(nil), r.warnings...)
	if r.repeated > 0 {
		out = append(out, fmt.Sprintf("%d more warnings", r.repeated))
	}
	return out
}

// finish syncs every file, gives it its name, and writes the summary. What it
// leaves when it fails is abandon's.
func (r *results) finish(s summary, video bool) error {
	s.Warnings = r.listWarnings()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(r.buf.Flush(), r.file.Sync(), r.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", detectionsName, err)
	}
	s.Classes, s.Objects = r.classes, r.objects
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", summaryName, err)
	}
	if err := writeSynced(filepath.Join(r.dir, summaryName+partSuffix), append(data, '\n')); err != nil {
		return err
	}
	// An older run's results stand until these are whole; from here on its summary
	// must not vouch for this run's files.
	if err := os.Remove(filepath.Join(r.dir, summaryName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the older %s: %w", summaryName, err)
	}
	names := []string{detectionsName}
	if video {
		if err := syncFile(filepath.Join(r.dir, annotatedName+partSuffix)); err != nil {
			return err
		}
		names = append(names, annotatedName)
	} else if err := os.Remove(filepath.Join(r.dir, annotatedName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		// An older run's: the summary would vouch for it.
		return fmt.Errorf("remove the older %s: %w", annotatedName, err)
	}
	if err := r.rename(names...); err != nil {
		return err
	}
	if err := r.rename(summaryName); err != nil {
		return err
	}
	r.finished = true
	return nil
}

// rename gives finished files their names, for good once it returns.
func (r *results) rename(names ...string) error {
	for _, n := range names {
		path := filepath.Join(r.dir, n)
		if err := os.Rename(path+partSuffix, path); err != nil {
			return fmt.Errorf("finish %s: %w", n, err)
		}
	}
	return syncFile(r.dir)
}

// abandon removes what an analysis that did not finish has left.
func (r *results) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finished {
		return
	}
	r.file.Close()
	_ = Discard(r.dir)
}

// Discard removes what an analysis that died has left in its results folder.
func Discard(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		// The muxer keeps its samples beside its file until it has the index.
		name, _, part := strings.Cut(e.Name(), partSuffix)
		if part && slices.Contains(Names(), name) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Names are the files of a results folder.
func Names() []string { return []string{detectionsName, annotatedName, summaryName} }

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync results: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Base(path), err)
	}
	return nil
}

// fileHash is what a source is known by.
type fileHash struct {
	sum   string
	bytes int64
	err   error
}

func hashFile(ctx context.Context, path string) fileHash {
	f, err := os.Open(path)
	if err != nil {
		return fileHash{err: err}
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, readerWithContext{ctx, f})
	return fileHash{sum: hex.EncodeToString(h.Sum(nil)), bytes: n, err: err}
}

// readerWithContext ends a long read when nobody waits for it any more.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
