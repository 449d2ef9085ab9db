package movie

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Parameter sets of 640x352, baseline.
var (
	testSPS = []byte{0x67, 66, 0, 30, 0xda, 0x02, 0x80, 0xb6, 0x40}
	testPPS = []byte{0x68, 0xce, 0x3c, 0x80}
)

// made makes units of random sizes, times and keyframes. others: parameter sets
// change on the way.
func made(rnd *rand.Rand, n int, others bool) (units []Unit, pictures [][]byte) {
	at := time.Duration(rnd.Int64N(int64(3 * time.Second)))
	for i := range n {
		u := Unit{PTS: at, Keyframe: i == 0 || rnd.IntN(12) == 0}
		size := 1 + rnd.IntN(300)
		if rnd.IntN(40) == 0 {
			size = rnd.IntN(400_000)
		}
		picture := make([]byte, 1+size)
		for j := range picture {
			picture[j] = byte(1 + (i*7+j)%255) // no start code in it
		}
		picture[0] = 0x41
		code := []byte{0, 0, 0, 1}
		if u.Keyframe {
			picture[0] = 0x65
			pps := bytes.Clone(testPPS)
			if others && i > n/2 {
				pps[2] = 0x30
			}
			u.Data = bytes.Join([][]byte{{0, 0, 0, 1, 9, 0xf0}, testSPS, pps, nil}, code)
		} else {
			u.Data = bytes.Clone(code)
		}
		u.Data = append(u.Data, picture...)
		units, pictures = append(units, u), append(pictures, picture)
		at += time.Duration(1 + rnd.Int64N(int64(120*time.Millisecond)))
		if rnd.IntN(30) == 0 {
			at -= min(at-u.PTS, 119*time.Millisecond) // within a tick, sometimes at the same time
		}
	}
	return units, pictures
}

// entries are the fields of a table of a finished file.
func entries(t testing.TB, file []byte, kind string, width int) (list []uint64) {
	t.Helper()
	at := bytes.Index(file, []byte(kind))
	if at < 0 {
		t.Fatalf("no %s", kind)
	}
	end := at - 4 + int(binary.BigEndian.Uint32(file[at-4:]))
	for b := file[at+8 : end]; len(b) >= width; b = b[width:] {
		if width == 8 {
			list = append(list, binary.BigEndian.Uint64(b))
		} else {
			list = append(list, uint64(binary.BigEndian.Uint32(b)))
		}
	}
	return list
}

// parsed is what a player reads of a finished file: each sample's time and bytes.
func parsed(t testing.TB, file []byte, wide bool) (times []int64, data [][]byte, syncs []uint64) {
	t.Helper()
	sizes := entries(t, file, "stsz", 4)[2:]
	var offsets []uint64
	if wide {
		at := bytes.Index(file, []byte("co64"))
		for i := range binary.BigEndian.Uint32(file[at+8:]) {
			offsets = append(offsets, binary.BigEndian.Uint64(file[at+12+8*int(i):]))
		}
	} else {
		offsets = entries(t, file, "stco", 4)[1:]
	}
	now := int64(0)
	if elst := bytes.Index(file, []byte("elst")); elst > 0 {
		now = int64(binary.BigEndian.Uint64(file[elst+12:]))
	}
	stts := entries(t, file, "stts", 4)[1:]
	for i := 0; i < len(stts); i += 2 {
		for range stts[i] {
			times = append(times, now)
			now += int64(stts[i+1])
		}
	}
	for i, size := range sizes {
		at := offsets[i/chunkSamples]
		for _, before := range sizes[i/chunkSamples*chunkSamples : i] {
			at += before
		}
		data = append(data, file[at:at+size])
	}
	return times, data, entries(t, file, "stss", 4)[1:]
}

func write(t testing.TB, w *Writer, units []Unit) {
	t.Helper()
	for _, u := range units {
		if err := w.Write(u); err != nil {
			t.Fatal(err)
		}
	}
}

func finished(t testing.TB, w *Writer, limit int64) []byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "final.mp4")
	if err := w.finish(t.Context(), to, limit); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is written, however often it is committed, cut and gone on with: the
// finished file has each picture at its time, and is the same to the byte.
func TestCutsChangeNothing(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		units, pictures := made(rnd, 50+rnd.IntN(300), seed%3 == 2)
		dir := t.TempDir()
		straight, err := Create(filepath.Join(dir, "straight"), Video{640, 352})
		if err != nil {
			t.Fatal(err)
		}
		defer straight.Close()
		write(t, straight, units)
		limit := int64(0xffffffff)
		if seed%2 == 1 {
			limit = 1000
		}
		want := finished(t, straight, limit)

		path := filepath.Join(dir, "cut")
		w, err := Create(path, Video{640, 352})
		if err != nil {
			t.Fatal(err)
		}
		var mark Mark
		committed := 0
		for i := 0; i < len(units); {
			n := min(1+rnd.IntN(60), len(units)-i)
			write(t, w, units[i:i+n])
			i += n
			if rnd.IntN(3) > 0 {
				m, err := w.Commit()
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(m)
				if err != nil || len(text) > 1000 {
					t.Fatalf("a mark of %d bytes, %v", len(text), err)
				}
				mark = Mark{}
				if err := json.Unmarshal(text, &mark); err != nil {
					t.Fatal(err)
				}
				committed = i
			}
			if rnd.IntN(3) == 0 && mark.Bytes > 0 {
				// The process dies here, and leaves anything behind the mark.
				w.Close()
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				f.Write(bytes.Repeat([]byte("moof"), rnd.IntN(5000)))
				f.Close()
				if w, err = Reopen(path, mark); err != nil {
					t.Fatal(err)
				}
				i = committed
			}
		}
		got := finished(t, w, limit)
		again := finished(t, w, limit)
		w.Close()
		if !bytes.Equal(got, want) || !bytes.Equal(again, want) {
			t.Fatalf("seed %d: the file that was cut differs: %d and %d bytes", seed, len(got), len(want))
		}
		times, data, syncs := parsed(t, want, limit < 0xffffffff)
		if len(times) != len(units) || len(data) != len(units) {
			t.Fatalf("seed %d: %d times, %d samples, %d units", seed, len(times), len(data), len(units))
		}
		keys, last := 0, int64(-1)
		for i, u := range units {
			at := max((int64(u.PTS)*9+50_000)/100_000, last+1)
			if last = at; times[i] != at {
				t.Fatalf("seed %d: frame %d is at tick %d, not %d", seed, i, times[i], at)
			}
			if !bytes.HasSuffix(data[i], pictures[i]) {
				t.Fatalf("seed %d: frame %d is another", seed, i)
			}
			if u.Keyframe {
				if syncs[keys] != uint64(i+1) {
					t.Fatalf("seed %d: keyframe %d is not in the table", seed, i)
				}
				keys++
			}
			inBand := len(data[i]) > len(pictures[i])+4
			if inBand != (u.Keyframe && seed%3 == 2) {
				t.Fatalf("seed %d: frame %d of %d bytes is stored in %d", seed, i, len(pictures[i]), len(data[i]))
			}
		}
		if entry := bytes.Contains(want, []byte("avc1\x00\x00\x00\x00\x00\x00")); entry != (seed%3 != 2) {
			t.Errorf("seed %d: sample entry avc1: %t", seed, entry)
		}
	}
}

func TestFaults(t *testing.T) {
	units, _ := made(rand.New(rand.NewPCG(1, 1)), 200, false)
	path := filepath.Join(t.TempDir(), "growing")
	create := func() *Writer {
		w, err := Create(path, Video{640, 352})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return w
	}
	w := create()
	if err := w.Finish(t.Context(), path+".mp4"); !errors.Is(err, ErrEmpty) {
		t.Errorf("a film without a frame: %v", err)
	}
	late := units[1]
	late.Keyframe = false
	for name, u := range map[string]Unit{
		"begins without a keyframe": late, "nothing": {Keyframe: true}, "negative time": {Data: units[0].Data, PTS: -1, Keyframe: true},
		"no parameter sets": {Data: []byte{0, 0, 1, 0x65, 1, 2, 3}, Keyframe: true}, "no picture": {Data: units[0].Data[:6], Keyframe: true},
	} {
		if err := w.Write(u); !errors.Is(err, ErrUnit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, w, units)
	early := units[0]
	early.PTS = units[199].PTS - 1
	if err := w.Write(early); !errors.Is(err, ErrUnit) {
		t.Errorf("a frame before the last one: %v", err)
	}
	far := units[0]
	far.PTS += 14 * time.Hour
	if err := w.Write(far); !errors.Is(err, ErrUnit) {
		t.Errorf("a frame 14 hours later: %v", err)
	}
	m, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Finish(canceled, path+".mp4"); !errors.Is(err, context.Canceled) {
		t.Errorf("a finish that was called off: %v", err)
	}
	if _, err := os.Stat(path + ".mp4"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
	for name, spoil := range map[string]func(*Mark){
		"longer than the file": func(m *Mark) { m.Bytes++ },
		"of another size":      func(m *Mark) { m.Width++ },
		"damaged":              func(m *Mark) { m.Sets = m.Sets[:7] },
		"without a step":       func(m *Mark) { m.Step = 0 },
	} {
		bad := m
		spoil(&bad)
		if x, err := Reopen(path, bad); !errors.Is(err, ErrMark) {
			t.Errorf("a mark that is %s: %v", name, err)
			x.Close()
		}
	}
	if st, err := os.Stat(path); err != nil || st.Size() != m.Bytes {
		t.Errorf("a mark that does not fit changed the file: %v, %v", st, err)
	}
	// A fragment that is damaged on disk must not become a finished file.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("oops"), m.Bytes/2); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	at := bytes.LastIndex(b, []byte("trun"))
	f.WriteAt([]byte{0xff, 0xff}, int64(at+8))
	if err := w.Finish(t.Context(), path+".mp4"); !errors.Is(err, errTorn) {
		t.Errorf("a torn fragment: %v", err)
	}
}
