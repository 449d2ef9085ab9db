package results

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// line is the line of a frame, always the same.
func line(frame uint64) Line {
	rng := rand.New(rand.NewPCG(frame, 7))
	l := Line{Frame: frame, Seconds: float64(frame) / 25, Width: 640, Height: 360, Objects: []link.Object{}}
	for i := range rng.IntN(4) {
		x, y := rng.Float32()*600, rng.Float32()*300
		class := rng.IntN(3)
		l.Objects = append(l.Objects, link.Object{
			ID: int(frame/10)*3 + i + 1, Class: class, Label: []string{"person", "car", "a --> b"}[class],
			Score: 0.4 + rng.Float32()/2, X0: x, Y0: y, X1: x + 20, Y1: y + 40,
		})
	}
	return l
}

var work = Work{Format: Format, Analyser: "motion", Settings: Settings{Classes: []string{"person"}}}

// teller collects what a log says.
type teller struct {
	mu     sync.Mutex
	synced []Position
	failed []error
}

func (k *teller) plan(resume bool) Plan {
	return Plan{
		Resume: resume, Work: work,
		Committed: func(p Position) { k.mu.Lock(); k.synced = append(k.synced, p); k.mu.Unlock() },
		Failed:    func(err error) { k.mu.Lock(); k.failed = append(k.failed, err); k.mu.Unlock() },
	}
}

func (k *teller) last() Position {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.synced[len(k.synced)-1]
}

func open(t *testing.T, dir string, resume bool) (*Folder, *teller) {
	t.Helper()
	var k teller
	f, err := Open(dir, k.plan(resume))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, &k
}

func add(t *testing.T, f *Folder, from, to uint64) Position {
	t.Helper()
	at := f.Log.At()
	for n := from; n <= to; n++ {
		var err error
		if at, err = f.Log.Add(line(n)); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

func save(t *testing.T, f *Folder, frame uint64, at Position) {
	t.Helper()
	if err := f.Save(Checkpoint{Work: work, Frame: frame, Log: at, Ledger: link.Ledger{Decoded: frame, Inferred: frame}}); err != nil {
		t.Fatal(err)
	}
}

// Lines are synced without anybody asking, in groups, and told of in order.
func TestLinesAreCommittedInGroups(t *testing.T) {
	dir := t.TempDir()
	f, k := open(t, dir, false)
	if k.last() != (Position{}) {
		t.Errorf("a new log begins at %+v", k.last())
	}
	at := add(t, f, 1, 200)
	for end := time.Now().Add(10 * time.Second); k.last() != at && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if k.last() != at || at.Seq != 200 {
		t.Fatalf("%+v is committed of %+v", k.last(), at)
	}
	var before Position
	for _, p := range k.synced {
		if p.Seq < before.Seq || p.Bytes < before.Bytes {
			t.Errorf("%+v was told after %+v", p, before)
		}
		before = p
	}
	if n := len(k.synced); n > 10 {
		t.Errorf("200 lines were synced in %d groups", n)
	}
	text, err := os.ReadFile(filepath.Join(dir, DetectionsName+PartSuffix))
	if err != nil || int64(len(text)) != at.Bytes {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	var seq uint64
	err = Read(bytes.NewReader(text), func(l Line) error {
		seq++
		if want := line(seq); l.Frame != want.Frame || len(l.Objects) != len(want.Objects) || l.Objects == nil {
			t.Errorf("line %d is %+v", seq, l)
		}
		return nil
	})
	if err != nil || seq != 200 {
		t.Errorf("%d lines are read, %v", seq, err)
	}
}

// Whatever a crash left behind the checkpoint, the whole lines stand, the rest goes,
// and in the end the log is that of a run without the crash.
func TestTornLogsGoOn(t *testing.T) {
	whole := func(t *testing.T) []byte {
		dir := t.TempDir()
		f, _ := open(t, dir, false)
		add(t, f, 1, 120)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, DetectionsName+PartSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}(t)
	for name, tear := range map[string]func([]byte) []byte{
		"not at all":    func(b []byte) []byte { return b },
		"half a line":   func(b []byte) []byte { return b[:len(b)-7] },
		"zeros":         func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		"zeros and end": func(b []byte) []byte { return append(append(b, make([]byte, 100)...), "}\n"...) },
		"other line":    func(b []byte) []byte { return append(b, "{\"seq\":93,\"frame\":93}\n"...) },
		"noise":         func(b []byte) []byte { return append(b, "\xff\xfe\n{}\n"...) },
		"half a number": func(b []byte) []byte { return append(b, `{"seq":9`...) },
		"long":          func(b []byte) []byte { return append(b, bytes.Repeat([]byte("x"), maxLine+100)...) },
		"hole":          func(b []byte) []byte { clear(b[len(b)-300:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, _ := open(t, dir, false)
			at := add(t, f, 1, 60)
			save(t, f, 60, at)
			last := add(t, f, 61, 91)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, DetectionsName+PartSuffix)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tear(text), 0o644); err != nil {
				t.Fatal(err)
			}
			f, k := open(t, dir, true)
			if f.From == nil || f.From.Frame != 60 || f.From.Log != at {
				t.Fatalf("it goes on from %+v: %s", f.From, f.Anew)
			}
			if kept := k.last(); kept.Seq < 60 || kept.Seq > 91 || name == "not at all" && kept != last {
				t.Errorf("%+v is kept of %+v", kept, last)
			}
			add(t, f, 61, 120)
			if n := f.Log.Differs(); n != 0 {
				t.Errorf("%d lines were added otherwise", n)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if text, err = os.ReadFile(path); err != nil || !bytes.Equal(text, whole) {
				t.Errorf("the log has %d bytes in the end, that of an uncut run %d: %v", len(text), len(whole), err)
			}
		})
	}
}

// A line that was committed stands, even where it is found otherwise later.
func TestCommittedLinesStand(t *testing.T) {
	dir := t.TempDir()
	f, _ := open(t, dir, false)
	save(t, f, 0, Position{})
	add(t, f, 1, 10)
	f.Close()
	path := filepath.Join(dir, DetectionsName+PartSuffix)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, _ = open(t, dir, true)
	for n := range uint64(10) {
		l := line(n + 1)
		l.Seconds += 0.001
		if _, err := f.Log.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.Log.Differs(); n != 10 {
		t.Errorf("%d lines are said to differ", n)
	}
	f.Close()
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the committed lines have changed: %v", err)
	}
}

// What does not fit begins anew, and says why; what is not asked for too.
func TestOtherWorkBeginsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string, p *Plan) error
		why   string
	}{
		"not asked to":  {func(_ string, p *Plan) error { p.Resume = false; return nil }, ""},
		"settings":      {func(_ string, p *Plan) error { p.Work.Settings.Gate = true; return nil }, "settings"},
		"classes":       {func(_ string, p *Plan) error { p.Work.Settings.Classes = nil; return nil }, "settings"},
		"format":        {func(_ string, p *Plan) error { p.Work.Format++; return nil }, "format"},
		"source":        {func(_ string, p *Plan) error { p.Source.SHA256 = "ff"; return nil }, "source"},
		"no checkpoint": {func(d string, _ *Plan) error { return os.Remove(filepath.Join(d, CheckpointName)) }, ""},
		"torn checkpoint": {func(d string, _ *Plan) error {
			return os.WriteFile(filepath.Join(d, CheckpointName), make([]byte, 500), 0o644)
		}, "checkpoint"},
		"half a checkpoint": {func(d string, _ *Plan) error { return os.Truncate(filepath.Join(d, CheckpointName), 99) }, "checkpoint"},
		"checkpoint of nothing": {func(d string, _ *Plan) error {
			return os.WriteFile(filepath.Join(d, CheckpointName), []byte(`{"log":{"seq":5,"bytes":1}}`), 0o644)
		}, "contradicts"},
		"log too short": {func(d string, _ *Plan) error { return os.Truncate(filepath.Join(d, DetectionsName+PartSuffix), 900) }, "lines"},
		"no log":        {func(d string, _ *Plan) error { return os.Remove(filepath.Join(d, DetectionsName+PartSuffix)) }, "log is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, k := open(t, dir, false)
			at := add(t, f, 1, 20)
			if err := f.Save(Checkpoint{Work: work, Source: SourceID{Bytes: 5, SHA256: "aa"}, Frame: 20, Log: at, Ledger: link.Ledger{Decoded: 20, Inferred: 20}}); err != nil {
				t.Fatal(err)
			}
			f.Close()
			p := k.plan(true)
			p.Source = SourceID{Bytes: 5}
			if err := c.spoil(dir, &p); err != nil {
				t.Fatal(err)
			}
			f, err := Open(dir, p)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.From != nil || !strings.Contains(f.Anew, c.why) || (c.why == "") != (f.Anew == "") {
				t.Errorf("it goes on from %+v, for %q", f.From, f.Anew)
			}
			if k.last() != (Position{}) || f.Log.At() != (Position{}) {
				t.Errorf("it begins at %+v", k.last())
			}
			if left, _ := os.ReadFile(filepath.Join(dir, CheckpointName)); len(left) > 0 {
				t.Error("the old checkpoint is there still")
			}
		})
	}
}

// A full disk is told once, ends the log, and loses nothing that was committed.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, DetectionsName+PartSuffix)); err != nil {
		t.Fatal(err)
	}
	f, k := open(t, dir, false)
	add(t, f, 1, 3)
	err := f.Log.Sync()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("%v", err)
	}
	if _, err := f.Log.Add(line(4)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("more is taken: %v", err)
	}
	if len(k.failed) != 1 || k.last() != (Position{}) {
		t.Errorf("told of %v, %+v committed", k.failed, k.last())
	}
}
