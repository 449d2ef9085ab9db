package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	sniff "github.com/watchpost/watchpost/gst/container"
	"github.com/watchpost/watchpost/gst/plan"
)

// editList is where the first edit list of a film with a picture's track begins
// (its payload), and whether its times have 64 bits.
func editList(t testing.TB, data []byte) (at int, wide bool) {
	t.Helper()
	at = bytes.Index(data, []byte("elst"))
	if at < 0 {
		t.Fatal("there is no edit list in it")
	}
	return at + 4, data[at+4] == 1
}

// withoutEdits is the film with all its edit lists hidden: all pictures of it.
func withoutEdits(t testing.TB, data []byte) []byte {
	t.Helper()
	data = bytes.Clone(data)
	editList(t, data)
	// The list shows all from 0 to the end; what the headers say of the duration
	// would cut that short.
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("elst"))
		if i < 0 {
			break
		}
		at += i + 4
		takeEdits(data[at:])
	}
	takeDuration(data[bytes.Index(data, []byte("mvhd"))+4+12:], 4)
	return data
}

// withEdits is the film with an edit list of as many parts as it had, of version 0.
func withEdits(t testing.TB, data []byte, edits ...edit) []byte {
	t.Helper()
	data = bytes.Clone(data)
	at, wide := editList(t, data)
	if wide || int(data[at+7]) != len(edits) {
		t.Fatal("its edit list has another form")
	}
	for i, e := range edits {
		row := data[at+8+12*i:]
		for k, v := range []uint32{uint32(e.lasts), uint32(e.begin)} {
			row[4*k], row[4*k+1], row[4*k+2], row[4*k+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		}
	}
	return data
}

// No picture may differ from what it is where nothing is cut off: those in front
// of an edit, and behind it, are what others are predicted from.
func TestEditListPicturesAreWhole(t *testing.T) {
	for _, tc := range []struct {
		name  string
		edits []edit // nil: those of the file
		all   int    // pictures of the track
		from  int    // the first that is shown, in the order of showing
		count int
		first time.Duration
	}{
		// Of 86 pictures 8 begin in front of 273/600 s and one behind 1802/600 s.
		{"phone_hevc10_portrait_editlist.mp4", nil, 86, 8, 77, 11666667},
		{"editlist_shift.mp4", nil, 270, 0, 270, time.Second},
		{"face_h264.mp4", nil, 30, 0, 30, 0},
		{"vfr_h264.mp4", nil, 167, 0, 167, 0},
		{"bikes_bframes.mp4", nil, 250, 0, 250, 0},
		{"h265_10bits.mp4", nil, 30, 0, 30, 0},
		// Cut out of the middle, far from any keyframe.
		{"face_h264.mp4", []edit{{600, 2002 + 7*1001}}, 30, 7, 18, 0},
		{"bikes_bframes.mp4", []edit{{4000, 1024 + 40*512}}, 250, 40, 100, 0},
		{"h264_10bits.mp4", []edit{{500, 1024 + 11*512}}, 30, 11, 15, 0},
		{"h265_10bits.mp4", []edit{{500, 1024 + 11*512}}, 30, 11, 15, 0},
		{"editlist_shift.mp4", []edit{{500, -1}, {1000, 45 * 512}}, 270, 45, 30, 500 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(tc.name, tc.edits), func(t *testing.T) {
			dir := t.TempDir()
			data, err := os.ReadFile(filepath.Join(media(t), "video", tc.name))
			if err != nil {
				t.Fatal(err)
			}
			if tc.edits != nil {
				data = withEdits(t, data, tc.edits...)
			}
			put := func(name string, data []byte) string {
				name = filepath.Join(dir, name)
				if err := os.WriteFile(name, data, 0o644); err != nil {
					t.Fatal(err)
				}
				return name
			}
			film, all := put("film", data), put("all", withoutEdits(t, data))
			want := reference(t, all)
			if len(want) != tc.all {
				t.Fatalf("without edits it has %d pictures, want %d", len(want), tc.all)
			}
			sources := []plan.Source{{URL: film}}
			if l, err := sniff.Sniff(bytes.NewReader(data), int64(len(data)), int64(len(data))); err != nil {
				t.Fatal(err)
			} else if l.Index == sniff.Front {
				sources = append(sources, plan.Source{URL: film, Title: "film", Size: int64(len(data)), FD: pour(t, bytes.NewReader(data), 5000)})
			}
			for _, src := range sources {
				got, _, warnings, err := pictures(t, src)
				if err != nil || len(warnings) > 0 || len(got) != tc.count {
					t.Errorf("as a stream %t: %d pictures, want %d; %v, %q", src.FD > 0, len(got), tc.count, err, warnings)
				}
				if len(got) > 0 && (got[0].pts-tc.first).Abs() > slack {
					t.Errorf("as a stream %t: the first is at %v, want %v", src.FD > 0, got[0].pts, tc.first)
				}
				var broken []int
				for i, p := range got {
					if tc.from+i >= len(want) || p.sum != want[tc.from+i] {
						broken = append(broken, i)
					}
				}
				if len(broken) > 0 {
					t.Errorf("as a stream %t: of %d pictures these are not what they should be: %v", src.FD > 0, len(got), broken)
				}
			}
		})
	}
}

// Two parts are joined, each from within a group of pictures.
func TestEditListOfTwoParts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(media(t), "video", "bikes_bframes.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	// The list grows by a row. The index is behind the pictures: nothing else moves.
	at, _ := editList(t, data)
	moov := bytes.Index(data, []byte("moov")) - 4
	row := bytes.Clone(data[at+8 : at+20])
	data = slices.Insert(data, at+20, row...)
	data[at+7] = 2
	trak := bytes.LastIndex(data[:at], []byte("trak")) - 4
	edts := bytes.LastIndex(data[:at], []byte("edts")) - 4
	for _, box := range []int{moov, trak, edts, at - 8} {
		binary.BigEndian.PutUint32(data[box:], binary.BigEndian.Uint32(data[box:])+12)
	}
	data = withEdits(t, data, edit{800, 1024 + 40*512}, edit{1200, 1024 + 100*512})
	dir := t.TempDir()
	film, all := filepath.Join(dir, "film"), filepath.Join(dir, "all")
	for name, b := range map[string][]byte{film: data, all: withoutEdits(t, data)} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := reference(t, all)
	want = slices.Concat(want[40:60], want[100:130])
	got, _, warnings, err := pictures(t, plan.Source{URL: film})
	if err != nil || len(warnings) > 0 || len(got) != len(want) {
		t.Fatalf("%d pictures, want %d; %v, %q", len(got), len(want), err, warnings)
	}
	for i, p := range got {
		if at := time.Duration(i) * 40 * time.Millisecond; p.sum != want[i] || (p.pts-at).Abs() > slack {
			t.Errorf("picture %d, at %v, is not what it should be", i, p.pts)
		}
	}
}

// A film that is cut at both ends and played again and again keeps its pace, and
// shows no other pictures.
func TestEditListLoops(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(media(t), "video", "face_h264.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	film := filepath.Join(t.TempDir(), "film")
	if err := os.WriteFile(film, withEdits(t, data, edit{600, 2002 + 7*1001}), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const count, frame = 18, 1001 * time.Second / 30000
	var list []picture
	err = Read(ctx, plan.Source{URL: film, Live: true, Loop: true}, Handlers{Frame: func(f *Frame) {
		list = append(list, picture{pts: f.PTS, sum: checksum(f)})
		f.Release()
		if len(list) == 3*count {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || len(list) < 3*count {
		t.Fatalf("%d pictures, %v", len(list), err)
	}
	seen := map[int]uint32{}
	for i, p := range list {
		// A loaded machine may leave pictures out.
		if n := float64(p.pts) / float64(frame); math.Abs(n-math.Round(n)) > 0.01 {
			t.Errorf("picture %d is at %v", i, p.pts)
		}
		at := int(math.Round(float64(p.pts)/float64(frame))) % count
		if sum, known := seen[at]; known && sum != p.sum {
			t.Errorf("picture %d, at %v, is another than in the pass before", i, p.pts)
		}
		seen[at] = p.sum
	}
}

// reference is every picture of a film without edits, in the order of showing.
func reference(t testing.TB, film string) (sums []uint32) {
	t.Helper()
	list, _, warnings, err := pictures(t, plan.Source{URL: film})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	for _, p := range list {
		sums = append(sums, p.sum)
	}
	return sums
}

func TestTakeEdits(t *testing.T) {
	rate := uint32(1 << 16)
	list := func(rows ...uint32) []byte {
		b := []byte{0, 0, 0, 0, 0, 0, 0, byte(len(rows) / 3)}
		for _, v := range rows {
			b = append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		return b
	}
	for _, tc := range []struct {
		name string
		box  []byte
		want []edit
	}{
		{"one", list(9, 5, rate), []edit{{9, 5}}},
		{"late", list(1, 1<<32-1, rate, 9, 0, rate), []edit{{1, -1}, {9, 0}}},
		{"two", list(1, 3, rate, 9, 50, rate), []edit{{1, 3}, {9, 50}}},
		{"to the end", list(0, 5, rate), []edit{{0, 5}}},
		{"back", list(1, 50, rate, 9, 3, rate), nil},
		{"again", list(1, 50, rate, 9, 50, rate), nil},
		{"fast", list(9, 5, 2*rate), nil},
		{"still", list(9, 5, 0), nil},
		{"nothing", list(9, 1<<32-1, rate), nil},
		{"none", list(), nil},
		{"cut off", list(9, 5, rate)[:19], nil},
		{"endless", []byte{0, 0, 0, 0, 255, 255, 255, 255}, nil},
		{"empty", nil, nil},
		{"wide", slices.Concat([]byte{1, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 7), []byte{9}, make([]byte, 7), []byte{5, 0, 1, 0, 0}), []edit{{9, 5}}},
	} {
		was := bytes.Clone(tc.box)
		if got := takeEdits(tc.box); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		if tc.want == nil && !bytes.Equal(was, tc.box) {
			t.Errorf("%s: it was changed", tc.name)
		}
		if tc.want != nil && !slices.Equal(takeEdits(tc.box), []edit{{0, 0}}) {
			t.Errorf("%s: it does not show everything now", tc.name)
		}
	}
}

func TestMoveKeepsOrder(t *testing.T) {
	list := []span{{10 * time.Second, 12 * time.Second, time.Second}, {20 * time.Second, forever, 3 * time.Second}}
	for _, tc := range []struct{ t, want time.Duration }{
		{0, -9 * time.Second}, {9 * time.Second, 0}, {10 * time.Second, time.Second}, {11 * time.Second, 2 * time.Second},
		{12 * time.Second, 3 * time.Second}, {19 * time.Second, 3 * time.Second}, {20 * time.Second, 3 * time.Second}, {25 * time.Second, 8 * time.Second},
	} {
		if got := move(list, tc.t); got != tc.want {
			t.Errorf("%v lies at %v, want %v", tc.t, got, tc.want)
		}
	}
}
