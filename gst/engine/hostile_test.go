package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

func TestTracks(t *testing.T) {
	const two = ball + "x264enc ! h264parse ! mux. videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 ! x264enc ! h264parse ! mux. "
	for _, mux := range []string{"mp4mux name=mux faststart=true", "matroskamux name=mux"} {
		file := makeFile(t, "film", two+mux, "")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for track, want := range []struct{ w, frames int }{{320, 40}, {160, 20}, {0, 0}} {
			for _, stream := range []bool{false, true} {
				src := plan.Source{URL: file, Track: track}
				if stream {
					src.FD = pour(t, bytes.NewReader(data), 3000)
				}
				list, _, _, err := pictures(t, src)
				if len(list) != want.frames || len(list) > 0 && (list[0].w != want.w || err != nil) {
					t.Errorf("%s, track %d, as a stream %t: %d frames, %v", mux, track, stream, len(list), err)
				}
				var e *Error
				if want.frames > 0 {
					continue
				}
				if !errors.As(err, &e) || e.Kind != NoVideo || e.Message != "film: has no video track 2; it has 2, counted from 0: 0 is H.264 320x240, 1 is H.264 160x120" {
					t.Errorf("%s, as a stream %t: %v", mux, stream, err)
				}
			}
		}
	}
	if err := Read(t.Context(), plan.Source{URL: "film.mp4", Track: -1}, Handlers{}); err == nil || !strings.Contains(err.Error(), "counted from 0") {
		t.Errorf("track -1: %v", err)
	}
}

// highWater is the most memory that this process ever had, in bytes.
func highWater(t testing.TB) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc: memory was not measured")
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10
}

// put writes a number over what is at an offset behind a mark.
func put(t testing.TB, data []byte, mark string, offset int, v uint32) []byte {
	t.Helper()
	data = bytes.Clone(data)
	at := bytes.Index(data, []byte(mark))
	if at < 0 {
		t.Fatalf("no %q in it", mark)
	}
	binary.BigEndian.PutUint32(data[at+offset:], v)
	return data
}

// Files that lie end with a typed error, or with the frames that could be decoded,
// soon, and with bounded memory.
func TestLies(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(media(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	film, avi, mkv := read("video/face_h264.mp4"), read("video/mpeg4_sp.avi"), read("video/bear_vp9_161x121.webm")
	photo := read("image/yolox_dog.jpg")
	big := bytes.Clone(photo)
	sof := bytes.Index(big, []byte("\xff\xc0"))
	if sof < 0 {
		t.Fatal("the photo has no baseline header")
	}
	copy(big[sof+5:], "\xff\xff\xff\xff")
	for name, data := range map[string][]byte{
		"MP4 of 65535x65535":             put(t, film, "avc1\x00\x00\x00\x00\x00\x00", 28, 0xffffffff),
		"MP4 of a billion fps":           put(t, film, "stts", 12, 0),
		"MP4 of frames that last years":  put(t, film, "stts", 12, 0x7fffffff),
		"MP4 without a time scale":       put(t, film, "mdhd", 16, 0),
		"MP4 with nanoseconds":           put(t, film, "mdhd", 16, 1_000_000_000),
		"MP4 with ticks of a second":     put(t, film, "mdhd", 16, 1),
		"MP4 with times before 0":        put(t, film, "ctts", 12, 0x80000000),
		"MP4 sample beyond the file":     put(t, film, "stsz", 16, 0x7fffffff),
		"MP4 of 4 billion samples":       put(t, film, "stsz", 12, 0xffffffff),
		"MP4 of 4 billion equal samples": put(t, put(t, film, "stsz", 8, 1), "stsz", 12, 0xffffffff),
		"MP4 of 4 billion runs":          put(t, film, "stts", 8, 0xffffffff),
		"MP4 of 4 billion chunks":        put(t, film, "stco", 8, 0xffffffff),
		"MP4 with a chunk nowhere":       put(t, film, "stco", 12, 0xfffffff0),
		"MP4 index of 4 GB":              put(t, film, "moov", -4, 0xffffffff),
		"MP4 edit of years":              put(t, film, "elst", 12, 0x7fffffff),
		"MP4 cut off":                    film[:len(film)/2],
		"MP4 of an index alone":          film[:2300],
		"AVI of a billion fps":           put(t, avi, "vids", 24, 0x00ca9a3b),
		"AVI of 65536x65536":             put(t, put(t, avi, "strf", 12, 0x00000100), "strf", 16, 0x00000100),
		"AVI cut off":                    avi[:len(avi)/3],
		"WebM cut off":                   mkv[:len(mkv)/2],
		"JPEG of 65535x65535":            big,
		"uncompressed, 65536x65536":      append([]byte("YUV4MPEG2 W65536 H65536 F25:1 Ip A1:1 C420jpeg\nFRAME\n"), make([]byte, 100_000)...),
		"uncompressed, a billion fps":    append([]byte("YUV4MPEG2 W64 H64 F1000000000:1 Ip A1:1 C420jpeg\nFRAME\n"), make([]byte, 64*96)...),
		"not a film":                     []byte(strings.Repeat("hello ", 5000)),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "film")
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, stream := range []bool{false, true} {
				src := plan.Source{URL: file, Size: int64(len(data))}
				if stream {
					src.FD = pour(t, bytes.NewReader(data), 9000)
				}
				before, began := highWater(t), time.Now()
				list, infos, warnings, err := pictures(t, src)
				var e *Error
				if err != nil && !errors.As(err, &e) || len(list) == 0 && err == nil {
					t.Errorf("as a stream %t: %d frames, %v", stream, len(list), err)
				}
				if grew := highWater(t) - before; grew > 512<<20 {
					t.Errorf("as a stream %t: memory grew by %d MB", stream, grew>>20)
				}
				if took := time.Since(began); took > 40*time.Second {
					t.Errorf("as a stream %t: it took %v", stream, took)
				}
				last := time.Duration(-1)
				for _, p := range list {
					if p.pts <= last {
						t.Errorf("as a stream %t: a frame at %v after one at %v", stream, p.pts, last)
					}
					last = p.pts
				}
				if len(infos) > 0 {
					t.Logf("as a stream %t: %d frames, %.2f fps, %v, last at %v, %q, %v", stream, len(list), infos[0].FPS, infos[0].Duration, last, warnings, err)
				} else {
					t.Logf("as a stream %t: %q, %v", stream, warnings, err)
				}
			}
		})
	}
}
