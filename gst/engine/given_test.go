package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// player is a ReadUnits that is given units by hand.
type player struct {
	t      *testing.T
	units  chan Encoded
	frames chan *Frame // copies without memory: size and times
	lumas  chan float64
	infos  chan Info
	warned chan string
	asked  chan struct{}
	done   chan error
}

func play(t *testing.T, src plan.Source) *player {
	t.Helper()
	p := &player{
		t: t, units: make(chan Encoded), frames: make(chan *Frame, 1000), lumas: make(chan float64, 1000),
		infos: make(chan Info, 1000), warned: make(chan string, 1000), asked: make(chan struct{}, 1000), done: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.done <- ReadUnits(ctx, src, p.units, Handlers{
			Info:    func(i Info) { p.infos <- i },
			Warning: func(w string) { p.warned <- w },
			Frame: func(f *Frame) {
				p.lumas <- meanLuma(f)
				p.frames <- &Frame{PTS: f.PTS, Captured: f.Captured, Width: f.Width, Height: f.Height, Corrupted: f.Corrupted}
				f.Release()
			},
		}, func() { p.asked <- struct{}{} })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return p
}

func (p *player) give(e Encoded) {
	p.t.Helper()
	select {
	case p.units <- e:
	case err := <-p.done:
		p.t.Fatalf("it ended: %v", err)
	case <-time.After(20 * time.Second):
		p.t.Fatal("a unit is not taken")
	}
}

// frame waits for the next one.
func (p *player) frame() *Frame {
	p.t.Helper()
	select {
	case f := <-p.frames:
		return f
	case err := <-p.done:
		p.t.Fatalf("it ended: %v", err)
	case <-time.After(10 * time.Second):
		p.t.Fatal("no frame comes")
	}
	return nil
}

// end closes the units and waits for the end.
func (p *player) end() {
	p.t.Helper()
	close(p.units)
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Error(err)
		}
	case <-time.After(20 * time.Second):
		p.t.Error("it does not end")
	}
}

// encoded makes units of n frames by a description of the encoder.
func encoded(t *testing.T, codec, size string, n int, encoder string, need string) []Encoded {
	t.Helper()
	list := made(t, fmt.Sprintf("videotestsrc num-buffers=%d pattern=ball ! video/x-raw,format=I420,%s,framerate=30/1 ! %s", n, size, encoder), need)
	if len(list) != n {
		t.Fatalf("%d units of %d frames", len(list), n)
	}
	var out []Encoded
	for i, data := range list {
		out = append(out, Encoded{
			Codec: codec, PTS: time.Duration(i) * time.Second / 30, Captured: int64(1000 + i), Keyframe: i == 0 || codec == "jpeg", Data: data,
		})
	}
	return out
}

const annexB = " ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"

// Frames that are sent by hand: each comes before the next unit is given.
func TestGivenOneByOne(t *testing.T) {
	const n = 12
	for _, c := range []struct {
		name, codec, encoder, need, decoder string
		order                               func(uint32) string
	}{
		{"openh264", "h264", "openh264enc" + annexB, "openh264enc", "", nil},
		{"x264 baseline", "h264", "x264enc tune=zerolatency ! video/x-h264,profile=constrained-baseline" + annexB, "x264enc", "", nil},
		{"x264 main", "h264", "x264enc tune=zerolatency bframes=0 ! video/x-h264,profile=main" + annexB, "x264enc", "", nil},
		{"x264 high, slices", "h264", "x264enc tune=zerolatency sliced-threads=true threads=4 ! video/x-h264,profile=high" + annexB, "x264enc", "", nil},
		{"openh264 by openh264", "h264", "openh264enc" + annexB, "openh264enc", "openh264dec", nil},
		{"openh264, silent", "h264", "openh264enc" + annexB, "openh264enc", "", silent},
		{"openh264, reordering", "h264", "openh264enc" + annexB, "openh264enc", "", reordering},
		{"x264 main, silent", "h264", "x264enc tune=zerolatency ! video/x-h264,profile=main" + annexB, "x264enc", "", silent},
		{"x264 main, reordering", "h264", "x264enc tune=zerolatency ! video/x-h264,profile=main" + annexB, "x264enc", "", reordering},
		{"x264 high, silent", "h264", "x264enc tune=zerolatency ! video/x-h264,profile=high" + annexB, "x264enc", "", silent},
		{"x264 high, reordering", "h264", "x264enc tune=zerolatency ! video/x-h264,profile=high" + annexB, "x264enc", "", reordering},
		{"vp8", "vp8", "vp8enc deadline=1", "vp8enc", "", nil},
		{"jpeg", "jpeg", "jpegenc", "jpegenc", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			units := encoded(t, c.codec, "width=320,height=240", n, c.encoder, c.need)
			src := plan.Source{URL: "peer:" + c.codec}
			if c.decoder != "" {
				if !HasElement(c.decoder) {
					t.Skipf("%s is not installed", c.decoder)
				}
				src.Decoders = map[string][]string{c.codec: {c.decoder}}
			}
			if c.order != nil {
				units[0].Data = resay(t, units[0].Data, c.order)
			}
			p := play(t, src)
			var worst time.Duration
			for i, u := range units {
				start := time.Now()
				p.give(u)
				f := p.frame()
				if i > 0 {
					worst = max(worst, time.Since(start))
				}
				if f.PTS != u.PTS || f.Captured != u.Captured || f.Width != 320 || f.Height != 240 {
					t.Errorf("unit %d: %+v", i, f)
				}
			}
			p.end()
			info := <-p.infos
			t.Logf("%+v; after the first, no frame took more than %v", info, worst)
			if len(p.frames) > 0 || len(p.warned) > 0 || len(p.asked) > 0 || len(p.infos) > 0 {
				t.Errorf("%d frames, %d infos, %d warnings, %d refreshes too many", len(p.frames), len(p.infos), len(p.warned), len(p.asked))
			}
		})
	}
}
