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

// joined is units of several clips, one after the other in time.
func joined(clips ...[]Encoded) (all []Encoded) {
	for _, c := range clips {
		for _, u := range c {
			u.PTS, u.Captured = time.Duration(len(all))*time.Second/30, int64(1000+len(all))
			all = append(all, u)
		}
	}
	return all
}

// clips are three of one codec, of sizes of their own.
func clips(t *testing.T, codec string) (a, b, c []Encoded) {
	t.Helper()
	encoder, need := map[string]string{
		"h264": "x264enc tune=zerolatency key-int-max=1000 ! video/x-h264,profile=constrained-baseline" + annexB,
		"vp8":  "vp8enc deadline=1 keyframe-max-dist=1000",
		"jpeg": "jpegenc",
	}[codec], map[string]string{"h264": "x264enc", "vp8": "vp8enc", "jpeg": "jpegenc"}[codec]
	return encoded(t, codec, "width=320,height=240", 8, encoder, need),
		encoded(t, codec, "width=640,height=360", 8, encoder, need),
		encoded(t, codec, "width=160,height=120", 8, encoder, need)
}

// A browser's camera changes its size when the network does.
func TestGivenSizesChange(t *testing.T) {
	for _, codec := range []string{"h264", "vp8", "jpeg"} {
		t.Run(codec, func(t *testing.T) {
			a, b, c := clips(t, codec)
			p := play(t, plan.Source{})
			for i, u := range joined(a, b, c, a) {
				p.give(u)
				f := p.frame()
				if w := []int{320, 640, 160, 320}[i/8]; f.Width != w || f.PTS != u.PTS || f.Captured != u.Captured {
					t.Errorf("unit %d: %dx%d, %v, %d", i, f.Width, f.Height, f.PTS, f.Captured)
				}
			}
			p.end()
			if len(p.infos) != 4 || len(p.warned) > 0 || len(p.asked) > 0 {
				t.Errorf("%d infos, %d warnings, %d refreshes", len(p.infos), len(p.warned), len(p.asked))
			}
		})
	}
}

// wait reports whether something comes out of a channel in time.
func wait[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// What is damaged or missing ends nothing: a keyframe is asked for, and with it the
// pictures go on.
func TestGivenDamage(t *testing.T) {
	for _, codec := range []string{"h264", "vp8", "jpeg"} {
		for name, harm := range map[string]func(u *Encoded){
			"noise": func(u *Encoded) {
				noise := make([]byte, len(u.Data))
				for i := range noise {
					noise[i] = byte(i*i + i>>3)
				}
				u.Data = noise
			},
			"cut short": func(u *Encoded) { u.Data = u.Data[:min(9, len(u.Data))] },
			"empty":     func(u *Encoded) { u.Data = nil },
			"zeros":     func(u *Encoded) { u.Data = make([]byte, 1000) },
		} {
			for _, where := range []int{0, 3, 8} {
				t.Run(fmt.Sprintf("%s %s %d", codec, name, where), func(t *testing.T) {
					t.Parallel()
					a, b, c := clips(t, codec)
					p := play(t, plan.Source{})
					all := joined(a, b)
					harm(&all[where])
					for i, u := range all {
						p.give(u)
						// By hand, up to the damage; the rest as it comes.
						if i < where {
							p.frame()
						}
						if i == where && !wait(p.asked) {
							t.Error("no keyframe is asked for")
						}
					}
					// What was asked for comes, by hand.
					fresh := joined(c)
					for i := range fresh {
						fresh[i].PTS += 10 * time.Second
						p.give(fresh[i])
						for f := p.frame(); f.PTS != fresh[i].PTS; f = p.frame() {
							if f.PTS > fresh[i].PTS || i > 0 {
								t.Fatalf("unit %d: a frame of %v", i, f.PTS)
							}
						}
					}
					p.end()
					if len(p.warned) == 0 {
						t.Fatal("nothing is told")
					}
					t.Log(len(p.asked), "refreshes more;", <-p.warned)
				})
			}
		}
	}
}

// A loss that the giver does not tell: units in the middle are missing.
func TestGivenLoss(t *testing.T) {
	a, b, _ := clips(t, "h264")
	p := play(t, plan.Source{})
	all := joined(a, b)
	p.give(all[2])
	p.give(all[3])
	for range 2 {
		if !wait(p.asked) {
			t.Error("pictures without a keyframe bring no request for one")
		}
	}
	for i, u := range all {
		if i == 3 {
			continue
		}
		p.give(u)
		p.frame()
	}
	p.end()
	t.Log(len(p.warned), "warnings,", len(p.asked), "refreshes")
}

// A decoder that holds pictures back is exchanged for one that does not.
func TestGivenDecoderExchanged(t *testing.T) {
	if err := Start(Options{}); err != nil || !HasElement("openh264dec") {
		t.Skip("openh264dec is not installed")
	}
	units := encoded(t, "h264", "width=320,height=240", 6, "x264enc tune=zerolatency bframes=0 ! video/x-h264,profile=high"+annexB, "x264enc")
	p := play(t, plan.Source{Decoders: map[string][]string{"h264": {"openh264dec", "avdec_h264"}}})
	for _, u := range units {
		p.give(u)
		if f := p.frame(); f.PTS != u.PTS {
			t.Errorf("%v of %v", f.PTS, u.PTS)
		}
	}
	p.end()
	if i := <-p.infos; i.Decoder != "avdec_h264" {
		t.Error(i)
	}
}
