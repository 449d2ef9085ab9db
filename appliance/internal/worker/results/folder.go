package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Folder is a results folder that an analysis is filling.
type Folder struct {
	Log *Log
	// From is where the analysis goes on; nil: it begins.
	From *Checkpoint
	// Anew is why it begins though it was to go on; empty: it does as it was told.
	Anew string

	dir string
}

// Plan is what Open is to make of a folder.
type Plan struct {
	// Resume goes on from what is there, if it was the same Work on what may be the
	// same Source; else, and without it, everything but complete results is cleared.
	Resume bool
	Work   Work
	Source SourceID
	// Committed is told how much of the log is on disk, whenever that changes,
	// and once at the beginning. Failed is told of the first write that fails.
	// Both must return at once.
	Committed func(Position)
	Failed    func(error)
}

// ErrComplete is returned by Open for a folder that has the results already; its
// summary is ReadSummary's.
var ErrComplete = errors.New("the results are complete")

// Open prepares a folder, which is made if it is missing.
func Open(dir string, p Plan) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the results folder: %w", err)
	}
	f := &Folder{dir: dir}
	if p.Resume {
		kept, err := f.find(p)
		if errors.Is(err, ErrComplete) {
			return nil, err
		}
		if err == nil {
			f.Log, err = openLog(f.logPath(), f.From.Log, kept, p.Committed, p.Failed)
			return f, err
		}
		f.From = nil
		if !errors.Is(err, errNothing) {
			f.Anew = err.Error()
		}
	}
	// A checkpoint must not outlive the log that it counts on.
	if err := os.Remove(filepath.Join(dir, CheckpointName)); err == nil {
		if err := syncDir(dir); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("begin the results anew: %w", err)
	}
	var err error
	f.Log, err = openLog(filepath.Join(dir, DetectionsName+PartSuffix), Position{}, Position{}, p.Committed, p.Failed)
	return f, err
}

// errNothing: the folder holds nothing to go on from, and there is nothing to tell.
var errNothing = errors.New("there is nothing to go on from")

// find sets From to where the analysis can go on, and returns how much of the log
// is there. Its errors say why there is no such place.
func (f *Folder) find(p Plan) (kept Position, err error) {
	c, err := readCheckpoint(f.dir)
	if errors.Is(err, os.ErrNotExist) {
		s, serr := ReadSummary(f.dir)
		if serr == nil && s.Work().Same(p.Work) && p.Source.may(SourceID{s.Source.Bytes, s.Source.SHA256}) {
			return kept, ErrComplete
		}
		return kept, errNothing
	}
	switch {
	case err != nil:
		return kept, err
	case !c.Work.Same(p.Work):
		return kept, errors.New("the model, the settings or the program's format are others than before")
	case !c.Source.may(p.Source):
		return kept, errors.New("the source is another file than before")
	}
	f.From = &c
	log, err := os.Open(f.logPath())
	if err != nil {
		return kept, fmt.Errorf("the log is gone: %w", err)
	}
	defer log.Close()
	kept, at, err := whole(log, c.Log.Seq)
	switch {
	case err != nil:
		return kept, err
	case at != c.Log:
		return kept, fmt.Errorf("the log has %d whole lines, not the %d of the checkpoint", kept.Seq, c.Log.Seq)
	case c.Summary != nil && kept != c.Log:
		return kept, fmt.Errorf("the log has %d lines, not the %d of the complete analysis", kept.Seq, c.Log.Seq)
	}
	return kept, nil
}

// logPath is where the log is: under its final name, if a crash came between the
// renames of a complete analysis.
func (f *Folder) logPath() string {
	part := filepath.Join(f.dir, DetectionsName+PartSuffix)
	if f.From != nil && f.From.Summary != nil {
		if _, err := os.Stat(part); errors.Is(err, os.ErrNotExist) {
			return filepath.Join(f.dir, DetectionsName)
		}
	}
	return part
}

// Save makes a checkpoint the one to go on from. It syncs the log before; what
// else the checkpoint counts on is the caller's.
func (f *Folder) Save(c Checkpoint) error {
	if err := f.Log.Sync(); err != nil {
		return err
	}
	return c.Save(f.dir)
}

// RecordingPath is that of the growing annotated video.
func (f *Folder) RecordingPath() string {
	return filepath.Join(f.dir, AnnotatedName+PartSuffix)
}

// Close ends the log. What was committed stays, to go on from.
func (f *Folder) Close() error { return f.Log.Close() }
