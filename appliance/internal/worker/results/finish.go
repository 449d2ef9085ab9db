package results

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Finish makes the results whole: c, whose Summary says how the analysis ended, is
// saved, the other files are made of the log, and all get their names, the summary
// last. video writes the fast-start copy of the recording; nil: there is none.
// After an error, or a crash, the same folder can be opened and finished again. The
// folder is closed, whatever comes of it.
func (f *Folder) Finish(ctx context.Context, c Checkpoint, video func(ctx context.Context, to string) error) (Summary, error) {
	s, err := f.complete(ctx, c, video)
	if cerr := f.Log.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return s, Explain(err)
	}
	if err := f.name(video != nil); err != nil {
		return s, Explain(err)
	}
	return s, nil
}

// complete writes and syncs everything under names that say that it is not whole.
func (f *Folder) complete(ctx context.Context, c Checkpoint, video func(ctx context.Context, to string) error) (Summary, error) {
	s := *c.Summary
	c.Log = f.Log.At()
	if err := f.Save(c); err != nil {
		return s, err
	}
	counts, err := f.derive(ctx, s.Source)
	if err != nil {
		return s, err
	}
	s.Results, s.Objects, s.Classes = counts.Lines, counts.Objects, counts.Classes
	if video != nil {
		if err := video(ctx, filepath.Join(f.dir, AnnotatedName+wholeSuffix)); err != nil {
			return s, fmt.Errorf("write %s: %w", AnnotatedName, err)
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, fmt.Errorf("write %s: %w", SummaryName, err)
	}
	if err := writeSynced(filepath.Join(f.dir, SummaryName+PartSuffix), append(text, '\n')); err != nil {
		return s, err
	}
	return s, ctx.Err()
}

// derive makes the files that are a function of the log.
func (f *Folder) derive(ctx context.Context, src Source) (Counts, error) {
	log, err := os.Open(f.logPath())
	if err != nil {
		return Counts{}, fmt.Errorf("read the results' log: %w", err)
	}
	defer log.Close()
	var files [3]*os.File
	defer func() {
		for _, o := range files {
			o.Close() // nil, or closed already: of no consequence
		}
	}()
	for i, name := range [...]string{COCOName, MOTName, VTTName} {
		if files[i], err = os.Create(filepath.Join(f.dir, name+PartSuffix)); err != nil {
			return Counts{}, fmt.Errorf("write results: %w", err)
		}
	}
	counts, err := Derive(ctx, log, src, Derived{COCO: files[0], MOT: files[1], VTT: files[2]})
	if err != nil {
		return counts, err
	}
	for _, o := range files {
		if err := errors.Join(o.Sync(), o.Close()); err != nil {
			return counts, fmt.Errorf("write %s: %w", filepath.Base(o.Name()), err)
		}
	}
	return counts, nil
}

// name gives what is whole its names. It may be cut anywhere: the checkpoint says
// that the analysis is complete, so that all of Finish is done again.
func (f *Folder) name(video bool) error {
	// An older run's results stand until these are whole; from here on its summary
	// must not vouch for this run's files.
	if err := f.remove(SummaryName); err != nil {
		return err
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	for _, n := range Names() {
		from := n + PartSuffix
		switch {
		case n == SummaryName:
			// All others have their names for good before it has.
			if err := syncDir(f.dir); err != nil {
				return err
			}
		case n == DetectionsName && f.logPath() == filepath.Join(f.dir, DetectionsName):
			continue
		case n == AnnotatedName && !video:
			// An older run's: the summary would vouch for it.
			if err := f.remove(n); err != nil {
				return err
			}
			continue
		case n == AnnotatedName:
			from = n + wholeSuffix
		}
		if err := os.Rename(filepath.Join(f.dir, from), filepath.Join(f.dir, n)); err != nil {
			return fmt.Errorf("finish %s: %w", n, err)
		}
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	if err := Discard(f.dir); err != nil {
		return fmt.Errorf("clear up behind the analysis: %w", err)
	}
	return syncDir(f.dir)
}

func (f *Folder) remove(name string) error {
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the older %s: %w", name, err)
	}
	return nil
}
