package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
	"github.com/watchpost/watchpost/gst/container"
)

// VerifyOptions are what Program.Verify is asked for.
type VerifyOptions struct {
	Dir, Source string
	// Model is a path or an installed model's name, for one that is not installed
	// under the hash of the results; empty: it is looked up by that.
	Model string
	// Tolerance is by how many pixels boxes may differ, where another decoder or
	// processor is used; 0: nothing may.
	Tolerance float64
	DataDir   string
	Quiet     bool
}

// Verify analyses a file again, with the settings of a results folder, and says in
// what the results differ. The error is nil if they do not.
func (p Program) Verify(ctx context.Context, o VerifyOptions) error {
	if !(o.Tolerance >= 0 && o.Tolerance <= 1e6) {
		return of(ErrUsage, "--tolerance is a number of pixels")
	}
	data, err := dataDir(o.DataDir)
	if err != nil {
		return err
	}
	was, err := results.ReadSummary(o.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return of(ErrInput, "%s holds no complete results: there is no %s", legible(o.Dir), results.SummaryName)
	case err != nil:
		return of(ErrInput, "%v", err)
	case was.Format != results.Format:
		return of(ErrInput, "%s is of format %d, this program's is %d: analyse the file again", legible(o.Dir), was.Format, results.Format)
	}
	v := &verification{p: p, o: o, was: was}
	if err := v.source(ctx); err != nil {
		return err
	}
	if len(v.found) == 0 {
		path, err := v.model(ctx, data)
		if err != nil {
			return err
		}
		if err := v.folder(ctx); err != nil {
			return err
		}
		if err := v.again(ctx, data, path); err != nil {
			return err
		}
	}
	if len(v.found) > 0 {
		for _, f := range v.found {
			fmt.Println(f)
		}
		return fmt.Errorf("%s differs: %s", legible(o.Dir), count(len(v.found), "difference"))
	}
	if !o.Quiet {
		fmt.Printf("%s: the same: %d frames, %d analysed, %d objects\n", legible(o.Dir), was.Ledger.Decoded, was.Ledger.Inferred, was.Objects)
	}
	return nil
}

// verification is one Verify.
type verification struct {
	p     Program
	o     VerifyOptions
	was   results.Summary
	found []string // differences, for people
}

func (v *verification) differ(format string, args ...any) {
	v.found = append(v.found, fmt.Sprintf(format, args...))
}

// source sees that the file is the one that was analysed.
func (v *verification) source(ctx context.Context) error {
	sum, size, err := hashOf(ctx, v.o.Source)
	if err != nil {
		return of(ErrInput, "%v", err)
	}
	if size != v.was.Source.Bytes || sum != v.was.Source.SHA256 {
		v.differ("%s is not the file that was analysed: it has %d bytes and sha256 %s, that one %d and %s",
			legible(v.o.Source), size, sum, v.was.Source.Bytes, v.was.Source.SHA256)
	}
	return nil
}

// hashOf reads a file for its hash, as long as ctx lasts.
func hashOf(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	for err == nil && ctx.Err() == nil {
		var n int64
		n, err = io.CopyN(h, f, 16<<20)
		size += n
	}
	if ctx.Err() != nil {
		return "", 0, ctx.Err()
	}
	if !errors.Is(err, io.EOF) {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// model finds the network that was used; empty: none was.
func (v *verification) model(ctx context.Context, data string) (string, error) {
	want := v.was.Model
	if want == nil {
		return "", nil
	}
	var list []model.Model
	if v.o.Model != "" {
		m, err := v.p.findModel(filepath.Join(data, "models"), v.o.Model)
		if err != nil {
			return "", err
		}
		list = []model.Model{{Name: v.o.Model, Path: m.path}}
	} else {
		store, err := model.OpenStore(filepath.Join(data, "models"))
		if err != nil {
			return "", of(ErrModel, "%v", err)
		}
		// What cannot be read is not it.
		list, _ = store.List()
	}
	for _, m := range list {
		sum, _, err := hashOf(ctx, m.Path)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil && sum == want.SHA256 {
			path, err := absolute(m)
			return path.path, err
		}
	}
	if v.o.Model != "" {
		return "", of(ErrModel, "%s is not the model that was used: that was %s with sha256 %s", v.o.Model, want.Name, want.SHA256)
	}
	return "", of(ErrModel, "the model that was used, %s with sha256 %s, is not installed: install it, or name its file with --model", want.Name, want.SHA256)
}

// folder sees that the files are what is made of the log, and the log what the
// summary says.
func (v *verification) folder(ctx context.Context) error {
	log, err := os.Open(filepath.Join(v.o.Dir, results.DetectionsName))
	if errors.Is(err, fs.ErrNotExist) {
		v.differ("%s is missing", results.DetectionsName)
		return nil
	}
	if err != nil {
		return of(ErrInput, "%v", err)
	}
	defer log.Close()
	coco, mot, vtt := sha256.New(), sha256.New(), sha256.New()
	counts, err := results.Derive(ctx, log, v.was.Source, results.Derived{COCO: coco, MOT: mot, VTT: vtt})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, results.ErrLog):
		v.differ("%s: %v", results.DetectionsName, err)
		return nil
	case err != nil:
		return of(ErrInput, "%v", err)
	}
	sums := v.was
	sums.Results, sums.Objects, sums.Classes = counts.Lines, counts.Objects, counts.Classes
	for _, d := range results.CompareSummaries(v.was, sums, 0) {
		v.differ("%s, by %s, in itself: %s", results.SummaryName, results.DetectionsName, d)
	}
	for _, f := range []struct {
		name string
		want hash.Hash
	}{{results.COCOName, coco}, {results.MOTName, mot}, {results.VTTName, vtt}} {
		sum, _, err := hashOf(ctx, filepath.Join(v.o.Dir, f.name))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			v.differ("%s cannot be read: %v", f.name, errors.Unwrap(err))
		case sum != hex.EncodeToString(f.want.Sum(nil)):
			v.differ("%s is not what %s makes", f.name, results.DetectionsName)
		}
	}
	return v.video()
}

// video sees that the annotated video is there, and a file that plays from its
// beginning.
func (v *verification) video() error {
	f, err := os.Open(filepath.Join(v.o.Dir, results.AnnotatedName))
	if errors.Is(err, fs.ErrNotExist) {
		if v.was.Settings.Video {
			v.differ("%s is missing", results.AnnotatedName)
		}
		return nil
	}
	if err != nil {
		return of(ErrInput, "%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return of(ErrInput, "%v", err)
	}
	layout, err := container.Sniff(f, info.Size(), info.Size())
	switch {
	case err != nil:
		v.differ("%s: %v", results.AnnotatedName, err)
	case layout.Kind != "mp4" || layout.Index != container.Front:
		v.differ("%s is no MP4 with its index in front, but %s %s", results.AnnotatedName, layout.Kind, layout.Remark)
	}
	return nil
}

// again analyses the file once more and compares.
func (v *verification) again(ctx context.Context, data, modelPath string) error {
	temp, err := os.MkdirTemp("", "watchpost-verify-")
	if err != nil {
		return of(ErrOutput, "make a folder for the second analysis: %v (choose another place with TMPDIR)", err)
	}
	defer os.RemoveAll(temp)
	start, err := v.start(modelPath, temp)
	if err != nil {
		return err
	}
	show := newProgress(os.Stderr, v.o.Quiet)
	if _, err := v.p.analyzeInWorker(ctx, data, start, show); err != nil {
		return err
	}
	is, err := results.ReadSummary(temp)
	if err != nil {
		return of(ErrOutput, "%v", err)
	}
	was, err := os.Open(filepath.Join(v.o.Dir, results.DetectionsName))
	if err != nil {
		return nil // told by folder
	}
	defer was.Close()
	now, err := os.Open(filepath.Join(temp, results.DetectionsName))
	if err != nil {
		return of(ErrOutput, "%v", err)
	}
	defer now.Close()
	lines, d, err := results.CompareLogs(was, now, v.o.Tolerance)
	switch {
	case errors.Is(err, results.ErrLog): // told by folder
	case err != nil:
		return of(ErrInput, "%v", err)
	case d != nil:
		v.differ("%s, line %d, %s", results.DetectionsName, lines, d)
	}
	for _, d := range results.CompareSummaries(v.was, is, v.o.Tolerance) {
		v.differ("%s: %s", results.SummaryName, d)
	}
	if v.was.Settings.Video && v.o.Tolerance == 0 {
		return v.sameVideo(temp)
	}
	return nil
}

// sameVideo compares the videos byte by byte: the same pictures, encoded by the same
// encoder, give the same.
func (v *verification) sameVideo(temp string) error {
	a, err := os.Open(filepath.Join(v.o.Dir, results.AnnotatedName))
	if err != nil {
		return nil // told by video
	}
	defer a.Close()
	b, err := os.Open(filepath.Join(temp, results.AnnotatedName))
	if err != nil {
		return of(ErrOutput, "%v", err)
	}
	defer b.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			i := 0
			for i < min(n, m) && x[i] == y[i] {
				i++
			}
			v.differ("%s differs from byte %d on", results.AnnotatedName, at+int64(i))
			return nil
		}
		at += int64(n)
		if errA != nil || errB != nil {
			return nil
		}
	}
}

// start is the analysis that the summary tells of.
func (v *verification) start(modelPath, out string) (link.Start, error) {
	file, err := filepath.Abs(v.o.Source)
	if err != nil {
		return link.Start{}, err
	}
	s := v.was.Settings
	start := link.Start{
		Camera: filepath.Base(file), Mode: "file", Source: link.Source{URL: file, Track: s.Track},
		Model: modelPath, Threshold: s.Threshold, Classes: s.Classes, Gate: s.Gate, MaxFPS: s.MaxFPS,
		Picture: link.Picture{MaxHeight: s.MaxHeight, Bitrate: s.Bitrate, KeyframeInterval: seconds(s.KeyframeInterval)},
		OutDir:  out, NoVideo: !s.Video, Threads: s.Threads, Title: strings.ToValidUTF8(v.was.Source.Name, "?"),
		SHA256: v.was.Source.SHA256,
	}
	if modelPath == "" {
		start.Threshold = 0 // motion has none
	}
	if s.Streamed {
		start.Feed = &link.Grow{Bytes: v.was.Source.Bytes, Complete: true, SHA256: v.was.Source.SHA256}
	}
	return start, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
