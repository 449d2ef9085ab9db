package engine

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	sniff "github.com/watchpost/watchpost/gst/container"
	"github.com/watchpost/watchpost/gst/plan"
)

// picture is what two readings of a file can differ in.
type picture struct {
	pts  time.Duration
	w, h int
	sum  uint32
}

func checksum(f *Frame) uint32 {
	sum := uint32(0)
	for p := range f.Planes {
		if f.Planes[p] == nil {
			continue
		}
		w, h := f.Width, f.Height
		if p > 0 {
			w, h = (w+1)/2, (h+1)/2
			if f.Format == plan.NV12 {
				w *= 2
			}
		}
		for y := range h {
			sum = crc32.Update(sum, crc32.IEEETable, f.Planes[p][y*f.Stride[p]:y*f.Stride[p]+w])
		}
	}
	return sum
}

func pictures(t testing.TB, src plan.Source) (list []picture, infos []Info, warnings []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	src.Threads = 1
	err = Read(ctx, src, Handlers{
		Info: func(i Info) { infos = append(infos, i) },
		Frame: func(f *Frame) {
			list = append(list, picture{f.PTS, f.Width, f.Height, checksum(f)})
			f.Release()
		},
		Warning: func(w string) { warnings = append(warnings, w) },
	})
	return list, infos, warnings, err
}

// pour writes a file into a pipe in pieces of random sizes and returns the pipe's
// reading end, which is the engine's. It ends before the test does.
func pour(t testing.TB, r io.Reader, most int) int {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(p[1]), "pipe")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer w.Close()
		rnd := rand.New(rand.NewPCG(1, uint64(most)))
		buf := make([]byte, most)
		for {
			n, err := io.ReadFull(r, buf[:1+rnd.IntN(most)])
			if n > 0 {
				if _, err := w.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { <-done })
	return p[0]
}

// bothWays reads a file as a stream, and as it lies, without its name's help, on
// disk: what container calls streamable gives the same frames; what it does not is
// refused or gives whatever it gives, but an untyped error.
func bothWays(t *testing.T, file string) sniff.Layout {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := sniff.Sniff(f, st.Size(), st.Size())
	if err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(t.TempDir(), "u0upload")
	if err := os.Symlink(file, bare); err != nil {
		t.Fatal(err)
	}
	var want []picture
	var wantInfo []Info
	var wantWarn []string
	var wantErr error
	if layout.Streamable {
		want, wantInfo, wantWarn, wantErr = pictures(t, plan.Source{URL: bare})
	}
	got, gotInfo, gotWarn, gotErr := pictures(t, plan.Source{URL: bare, Title: "film", Size: st.Size(), FD: pour(t, f, 9000)})
	var e *Error
	if gotErr != nil && (!errors.As(gotErr, &e) || !strings.HasPrefix(e.Message, "film: ")) {
		t.Fatal(gotErr)
	}
	if !layout.Streamable {
		if layout.Kind == "mp4" && layout.Index == sniff.End && (e == nil || e.Kind != Unsupported || len(got) > 0) {
			t.Errorf("its index is at its end, and a stream gave %d frames, %v", len(got), gotErr)
		}
		t.Logf("%s, not streamable: %s; %d frames as a stream, %v", layout.Kind, layout.Remark, len(got), gotErr)
		return layout
	}
	if len(got) != len(want) || (gotErr == nil) != (wantErr == nil) {
		t.Errorf("%d frames as a stream, %d as a file; %v, %v; %q, %q", len(got), len(want), gotErr, wantErr, gotWarn, wantWarn)
	}
	bad := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] && bad < 3 {
			bad++
			t.Errorf("frame %d: %v as a stream, %v as a file", i, got[i], want[i])
		}
	}
	if len(gotInfo) > 0 && len(wantInfo) > 0 {
		a, b := gotInfo[0], wantInfo[0]
		if (a.Duration - b.Duration).Abs() > time.Millisecond {
			t.Logf("%v as a stream, %v as a file", a.Duration, b.Duration)
		}
		if a.Duration, b.Duration = 0, 0; a != b {
			t.Errorf("%+v as a stream, %+v as a file", a, b)
		}
	}
	t.Logf("%s: %d frames, %v", layout.Kind, len(got), gotErr)
	return layout
}

func TestStreamIsTheFile(t *testing.T) {
	dir := media(t)
	for _, pattern := range []string{"video/*", "image/*"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) { bothWays(t, file) })
		}
	}
}

// make runs a pipeline that writes a file and returns it; the test is skipped
// where an element is missing.
func makeFile(t testing.TB, name, launch string, from string) string {
	t.Helper()
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name)
	props := []plan.Prop{{Element: "file", Name: "location", Value: out}}
	if from != "" {
		launch = "filesrc name=from ! " + launch
		props = append(props, plan.Prop{Element: "from", Name: "location", Value: from})
	}
	p, err := build(plan.Pipeline{Launch: launch + " ! filesink name=file async=false", Props: props})
	if err != nil {
		t.Skip("cannot be made here: ", err)
	}
	defer p.close()
	_ = p.play()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		m, ok := p.pop()
		switch {
		case !ok:
		case m.kind == msgEOS:
			return out
		case m.kind == msgError:
			t.Skip("cannot be made here: ", m.text)
		}
	}
	t.Fatal("it takes too long to make")
	return ""
}

const ball = "videotestsrc pattern=ball num-buffers=40 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "

// The kinds of files of which there are no test media.
func TestStreamsOfOtherKinds(t *testing.T) {
	var scene string
	if _, err := os.Stat(filepath.Join(media(t), "video")); err == nil {
		scene = filepath.Join(media(t), "video")
	}
	for _, tc := range []struct{ name, kind, launch, from string }{
		{"MPEG-2 in a program stream", "mpegps", ball + "mpeg2enc format=3 ! mpegvideoparse ! mpegpsmux", ""},
		{"MPEG-2 in a transport stream", "mpegts", ball + "mpeg2enc format=3 ! mpegvideoparse ! mpegtsmux", ""},
		{"MPEG-2 bare", "mpegvideo", ball + "mpeg2enc format=3", ""},
		{"MPEG-1 bare", "mpegvideo", ball + "mpeg2enc format=0", ""},
		{"MPEG-4 bare", "mpeg4", ball + "avenc_mpeg4 ! mpeg4videoparse config-interval=1", ""},
		{"MPEG-4 in AVI", "avi", ball + "avenc_mpeg4 ! avimux", ""},
		{"MJPEG in AVI", "avi", ball + "jpegenc ! avimux", ""},
		{"MJPEG bare", "jpeg", ball + "jpegenc", ""},
		{"MJPEG in Matroska", "matroska", ball + "jpegenc ! matroskamux", ""},
		{"Theora in Ogg", "ogg", ball + "theoraenc ! oggmux", ""},
		{"VP8 in IVF", "ivf", ball + "vp8enc deadline=1 ! avmux_ivf", ""},
		{"VP9 in a live WebM", "webm", ball + "vp9enc deadline=1 cpu-used=8 ! webmmux streamable=true", ""},
		{"uncompressed", "y4m", ball + "y4menc", ""},
		{"H.264 in FLV", "flv", "qtdemux ! h264parse ! flvmux streamable=true", "face_h264_nobframes.mp4"},
		{"H.264 in a transport stream", "mpegts", "qtdemux ! h264parse ! mpegtsmux", "bikes_bframes.mp4"},
		{"H.264 in one with times", "mpegts", "qtdemux ! h264parse ! mpegtsmux m2ts-mode=true", "face_h264.mp4"},
		{"H.264 in a program stream", "mpegps", "qtdemux ! h264parse ! mpegpsmux", "face_h264.mp4"},
		{"H.264 bare with B-frames", "h264", "qtdemux ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream", "face_h264.mp4"},
		{"H.265 bare", "h265", "qtdemux ! h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream", "h265_video.mp4"},
		{"H.265 in a transport stream", "mpegts", "qtdemux ! h265parse ! mpegtsmux", "h265_10bits.mp4"},
		{"fast start", "mp4", "qtdemux ! h264parse ! mp4mux faststart=true", "bikes_bframes.mp4"},
		{"fast start with sound", "mp4", ball + "x264enc ! h264parse ! mux. audiotestsrc num-buffers=90 ! avenc_aac ! aacparse ! mux. mp4mux name=mux faststart=true", ""},
		{"a transport stream with sound", "mpegts", ball + "x264enc ! h264parse ! mux. audiotestsrc num-buffers=90 ! avenc_aac ! aacparse ! mux. mpegtsmux name=mux", ""},
		{"Matroska with sound", "matroska", ball + "x264enc ! h264parse ! mux. audiotestsrc num-buffers=90 ! vorbisenc ! mux. matroskamux name=mux", ""},
		{"fragmented", "mp4", "qtdemux ! h264parse ! mp4mux fragment-duration=300", "bikes_bframes.mp4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.from != "" {
				tc.from = filepath.Join(scene, tc.from)
			}
			l := bothWays(t, makeFile(t, "film", tc.launch, tc.from))
			if l.Kind != tc.kind {
				t.Errorf("it is taken for %+v", l)
			}
		})
	}
}
