package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// media is the folder of the test media; the test is skipped without it.
func media(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("WATCHPOST_MEDIA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "media")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("test media are missing: set WATCHPOST_MEDIA to their folder")
	}
	return dir
}

// arriving fails the test when anything is read that is not there, and counts.
type arriving struct {
	t    testing.TB
	data []byte
	have int64
	read int64
}

func (a *arriving) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > a.have {
		a.t.Fatalf("read %d bytes from %d on, %d are there", len(p), off, a.have)
	}
	a.read += int64(len(p))
	return bytes.NewReader(a.data).ReadAt(p, off)
}

// grow sniffs as a file arrives that is never longer than it has to be, and
// returns how much it took.
func grow(t testing.TB, data []byte, size int64) (Layout, int64, error) {
	t.Helper()
	a := &arriving{t: t, data: data}
	for range 10000 {
		l, err := Sniff(a, a.have, size)
		if l.Need == 0 {
			return l, a.have, err
		}
		if err != nil || l.Streamable || l.Need <= a.have || size >= 0 && l.Need > size {
			t.Fatalf("with %d of %d bytes: %+v, %v", a.have, size, l, err)
		}
		if l.Need > int64(len(data)) {
			return l, a.have, nil // size is not known, and the rest never comes
		}
		a.have = l.Need
	}
	t.Fatal("it never knows enough")
	return Layout{}, 0, nil
}

// What is said early is what is said of the whole.
func TestEveryFile(t *testing.T) {
	want := map[string]string{
		"phone_hevc10_portrait_editlist.mp4": "mp4 front true ",
		"face_h264.mp4":                      "mp4 front true ",
		"face_fragmented.mp4":                "mp4 front true ",
		"bikes_bframes.mp4":                  "mp4 end false " + remarkEnd,
		"unordered.mov":                      "mp4 end false " + remarkEnd,
		"face.mkv":                           "matroska front true ",
		"bbb_vp9_642.webm":                   "webm front true ",
		"highway_asp.avi":                    "avi front true ",
		"h264.ts":                            "mpegts none true ",
		"res_change.h264":                    "h264 none true ",
		"yolox_dog.jpg":                      "jpeg none true ",
	}
	for _, pattern := range []string{"video/*", "broken/*", "image/*"} {
		files, _ := filepath.Glob(filepath.Join(media(t), pattern))
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			size := int64(len(data))
			whole, wholeErr := Sniff(bytes.NewReader(data), size, size)
			if whole.Need != 0 {
				t.Errorf("%s: needs %d bytes of the whole", name, whole.Need)
			}
			early, took, err := grow(t, data, size)
			if early != whole || (err == nil) != (wholeErr == nil) {
				t.Errorf("%s: %+v early, %+v of the whole", name, early, whole)
			}
			if unsized, _, _ := grow(t, data, -1); unsized.Need == 0 && unsized != whole {
				t.Errorf("%s: %+v while its size is not known, %+v then", name, unsized, whole)
			}
			got := strings.Join([]string{whole.Kind, string(whole.Index), map[bool]string{true: "true", false: "false"}[whole.Streamable], whole.Remark}, " ")
			if w, ok := want[name]; ok && got != w {
				t.Errorf("%s: %q, want %q", name, got, w)
			}
			if err == nil && !whole.Streamable && whole.Remark == "" {
				t.Errorf("%s: is not streamable, and no word why", name)
			}
			t.Logf("%-36s %s; told by %d of %d bytes; %v", name, got, took, size, wholeErr)
		}
	}
}

// renamed writes another name over the first box of a kind.
func renamed(t testing.TB, data []byte, from, to string) []byte {
	t.Helper()
	data = bytes.Clone(data)
	at := bytes.Index(data, []byte(from))
	if at < 0 {
		t.Fatalf("no %q in it", from)
	}
	copy(data[at:], to)
	return data
}

func TestEncrypted(t *testing.T) {
	file := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(media(t), "video", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"fast start": renamed(t, file("face_h264.mp4"), "avc1\x00\x00\x00\x00\x00\x00", "encv"),
		"fragmented": renamed(t, file("face_fragmented.mp4"), "avc1\x00\x00\x00\x00\x00\x00", "encv"),
	} {
		l, _, err := grow(t, data, int64(len(data)))
		if !errors.Is(err, ErrEncrypted) || l.Streamable {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	encoding := element1(idEncodings, element1(idEncoding, element1(idEncryption, nil)))
	for _, kind := range []byte{1, 2} {
		data := matroska(element1(idTracks, element1(idTrack, element1(idTrackType, []byte{kind}), encoding)))
		l, _, err := grow(t, data, int64(len(data)))
		if errors.Is(err, ErrEncrypted) != (kind == trackVideo) {
			t.Errorf("Matroska with an encrypted track of type %d: %+v, %v", kind, l, err)
		}
	}
}

// element1 writes an element with a size of four bytes.
func element1(id uint32, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	b := bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, id), "\x00")
	return append(binary.BigEndian.AppendUint32(b, 0x10000000|uint32(len(data))), data...)
}

func matroska(parts ...[]byte) []byte {
	b := element1(idEBML, element1(idDocType, []byte("matroska")))
	parts = append(parts, element1(idCluster, make([]byte, 100)))
	return append(b, element1(idSegment, parts...)...)
}

func atom(kind string, parts ...[]byte) []byte {
	data := bytes.Join(parts, nil)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(data)))
	return append(append(b, kind...), data...)
}

func TestStructures(t *testing.T) {
	ftyp := atom("ftyp", []byte("isom\x00\x00\x02\x00isom"))
	large := append([]byte{0, 0, 0, 1}, "mdat\x00\x00\x00\x7f\xff\xff\xff\xff"...)
	table := func(offsets ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(len(offsets)))
		for _, o := range offsets {
			b = binary.BigEndian.AppendUint32(b, o)
		}
		return atom("moov", atom("trak", atom("mdia", atom("minf", atom("stbl", atom("stco", b))))))
	}
	pictures := atom("mdat", make([]byte, 5000))
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	avi := func(size uint32, lists ...[]byte) []byte {
		b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, size)...)
		return cat(append([][]byte{b, []byte("AVI ")}, lists...)...)
	}
	list := func(kind string, n int) []byte {
		b := append([]byte("LIST"), binary.LittleEndian.AppendUint32(nil, uint32(n+4))...)
		return append(append(b, kind...), make([]byte, n)...)
	}
	odml := append(list("hdrl", 0), list("odml", 100)...)
	binary.LittleEndian.PutUint32(odml[4:], uint32(len(odml)-8))
	for name, tc := range map[string]struct {
		data       []byte
		index      Index
		streamable bool
		remark     string
	}{
		"pictures of unbelievable size first": {cat(ftyp, large, make([]byte, 100)), End, false, remarkEnd},
		"pictures to the end":                 {cat(ftyp, []byte("\x00\x00\x00\x00mdat"), make([]byte, 100)), End, false, remarkEnd},
		"no index":                            {cat(ftyp, atom("free", make([]byte, 100))), None, false, remarkNone},
		"in order":                            {cat(ftyp, table(1000, 1000, 2000), pictures), Front, true, ""},
		"not in order":                        {cat(ftyp, table(2000, 1000), pictures), Front, false, remarkOrder},
		"pictures in front of the index":      {cat(ftyp, table(10), pictures), Front, false, remarkOrder},
		"index cut off":                       {cat(ftyp, table(2000, 1000)[:40]), Front, false, remarkDamaged},
		"box shorter than its head":           {cat(ftyp, []byte("\x00\x00\x00\x03free"), pictures), Unknown, false, remarkDamaged},
		"AVI":                                 {avi(4000, list("hdrl", 200), list("movi", 3772)), Front, true, ""},
		"AVI with more parts":                 {avi(4000, odml, list("movi", 9000)), Front, false, remarkParts},
		"AVI with something behind":           {avi(4000, list("hdrl", 200), list("movi", 9000)), Front, true, ""},
		"AVI without headers":                 {avi(4000, list("movi", 3772)), End, false, remarkEnd},
		"Matroska without tracks":             {matroska(), End, false, remarkEnd},
	} {
		l, _, err := grow(t, tc.data, int64(len(tc.data)))
		if err != nil || l.Index != tc.index || l.Streamable != tc.streamable || l.Remark != tc.remark {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	for _, text := range []string{"", "hello", strings.Repeat("no video at all ", 200)} {
		if l, _, err := grow(t, []byte(text), int64(len(text))); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.20q: %+v, %v", text, l, err)
		}
	}
}

func TestWhole(t *testing.T) {
	head := append(atom("ftyp", make([]byte, 8)), atom("moov", make([]byte, 50))...)
	fragment := append(atom("moof", make([]byte, 80)), atom("mdat", make([]byte, 300))...)
	film := append(append(bytes.Clone(head), fragment...), fragment...)
	for have := range int64(len(film) + 1) {
		want := int64(0)
		for _, end := range []int{16, len(head), len(head) + len(fragment), len(film)} {
			if have >= int64(end) {
				want = int64(end)
			}
		}
		if got := Whole(&arriving{t: t, data: film, have: have}, have); got != want {
			t.Fatalf("of %d bytes %d are whole, want %d", have, got, want)
		}
	}
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"), int64(100), int64(200))
	f.Add(matroska(element1(idTracks, element1(idTrack, element1(idTrackType, []byte{1})))), int64(50), int64(-1))
	f.Add(append([]byte("RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl"), make([]byte, 100)...), int64(90), int64(90))
	f.Add(atom("moov", atom("mvhd", make([]byte, 100)), atom("trak", atom("edts", atom("elst", make([]byte, 100))))), int64(500), int64(500))
	f.Fuzz(func(t *testing.T, data []byte, have, size int64) {
		have = max(0, min(have, int64(len(data))))
		if size >= 0 {
			size = max(size, have)
		}
		a := &arriving{t: t, data: data, have: have}
		l, err := Sniff(a, have, size)
		if a.read > 64<<20 {
			t.Errorf("%d bytes were read of %d", a.read, have)
		}
		if l.Need != 0 && (l.Need <= have || size >= 0 && l.Need > size || err != nil || l.Streamable) {
			t.Errorf("%d of %d bytes: %+v, %v", have, size, l, err)
		}
		if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrEncrypted) {
			t.Errorf("untyped error %v", err)
		}
		grow(t, data, int64(len(data)))
		if n := Whole(a, have); n > have {
			t.Errorf("%d of %d bytes are whole", n, have)
		}
	})
}
