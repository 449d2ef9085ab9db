package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a complete results folder.
const (
	DetectionsName = "detections.jsonl"
	COCOName       = "coco.json"
	MOTName        = "tracks.mot.txt"
	VTTName        = "boxes.vtt"
	AnnotatedName  = "annotated.mp4"
	SummaryName    = "summary.json"
)

const (
	// CheckpointName is there as long as the folder is not complete.
	CheckpointName = "checkpoint.json"
	// PartSuffix marks a file that is not whole yet.
	PartSuffix = ".part"
	// wholeSuffix marks the fast-start copy of a recording that is not in its
	// place yet, beside the fragmented one.
	wholeSuffix = PartSuffix + ".whole"
)

// Names are the files of a complete results folder, in the order in which they
// get their names. The annotated video may be missing.
func Names() []string {
	return []string{COCOName, MOTName, VTTName, AnnotatedName, DetectionsName, SummaryName}
}

// Discard removes what an analysis that did not finish has left in its results
// folder, and nothing else. After it the analysis cannot be resumed.
func Discard(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		if unfinished(e.Name()) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// unfinished tells whether a name is one of an analysis at work.
func unfinished(name string) bool {
	if name == CheckpointName {
		return true
	}
	// What is made of a part is named after it.
	of, _, part := strings.Cut(name, PartSuffix)
	return part && (of == CheckpointName || slices.Contains(Names(), of))
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the results folder: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the results folder: %w", err)
	}
	return nil
}

// replace writes a small file so that a crash leaves the old one or the new.
func replace(path string, data []byte) error {
	if err := writeSynced(path+PartSuffix, data); err != nil {
		return err
	}
	if err := os.Rename(path+PartSuffix, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", strings.TrimSuffix(filepath.Base(path), PartSuffix), err)
	}
	return nil
}
