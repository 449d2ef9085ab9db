package boxtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// The clips' content is known: a bright grey block crosses a dark grey ground
// along its middle, from left to right, after a second of nothing but ground.
// Nothing in it has a colour, so that every coloured pixel of an annotated
// picture was drawn.
const (
	groundLuma = 60
	blockLuma  = 200

	clipFPS    = 30
	clipFrames = 120
	clipEmpty  = 30 // frames before the block comes in
)

// block is where the block is in frame n of a clip of w x h pixels; it may lie
// partly or wholly beside the picture.
func block(w, h, n int) (x0, y0, x1, y1 int) {
	bw, bh := w/6, h/3
	x0 = -bw + (w+bw)*(n-clipEmpty)/(clipFrames-clipEmpty)
	y0 = (h - bh) / 2
	return x0, y0, x0 + bw, y0 + bh
}

var clips sync.Map // size → Clip

// clip makes four seconds of w x h.
func clip(t *testing.T, w, h int) Clip {
	t.Helper()
	if c, ok := clips.Load([2]int{w, h}); ok {
		return c.(Clip)
	}
	gstreamer(t)
	c := Clip{FPS: clipFPS}
	enc, err := engine.NewEncoder(plan.Encode{Codec: "h264", Width: w, Height: h, FPSNum: clipFPS, FPSDen: 1, GOP: clipFPS, Live: true},
		func(u engine.Unit) { c.Units = append(c.Units, u.Data) })
	if err != nil {
		t.Fatal(err)
	}
	for n := range clipFrames {
		f, err := engine.NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		paint(f, n)
		f.PTS = time.Duration(n) * time.Second / clipFPS
		if err := enc.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	if len(c.Units) != clipFrames {
		t.Fatalf("%d units of %d frames", len(c.Units), clipFrames)
	}
	clips.Store([2]int{w, h}, c)
	return c
}

func paint(f *engine.Frame, n int) {
	x0, y0, x1, y1 := block(f.Width, f.Height, n)
	for y := range f.Height {
		row := f.Planes[0][y*f.Stride[0]:][:f.Width]
		for x := range row {
			row[x] = groundLuma
			if x >= x0 && x < x1 && y >= y0 && y < y1 {
				row[x] = blockLuma
			}
		}
	}
	for _, p := range []int{1, 2} {
		for y := range (f.Height + 1) / 2 {
			copy(f.Planes[p][y*f.Stride[p]:][:(f.Width+1)/2], bytes.Repeat([]byte{128}, (f.Width+1)/2))
		}
	}
}

// look is what can be told of a decoded picture without knowing it.
type look struct {
	width, height  int
	ground         byte // luma in a corner of the picture
	coloured       int  // pixels (in quarters) with a colour
	left, right    int  // of the block; 0, 0: no block is there
	corrupt        bool
	at             time.Duration
	colouredBounds [4]int // x0, y0, x1, y1 of the coloured pixels
}

// recorder keeps a viewer's pictures, to be decoded and looked at later.
type recorder struct {
	mu    sync.Mutex
	units []viewer.Unit
}

func (r *recorder) take(u viewer.Unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units = append(r.units, u)
}

// since returns the units that came from a time on, the first one a keyframe.
func (r *recorder) since(from time.Time) []viewer.Unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, u := range r.units {
		if !u.At.Before(from) && u.Keyframe {
			return append([]viewer.Unit(nil), r.units[i:]...)
		}
	}
	return nil
}

// decode decodes H.264 units and looks at each picture.
func decode(t *testing.T, units []viewer.Unit) []look {
	t.Helper()
	gstreamer(t)
	var stream []byte
	for _, u := range units {
		stream = append(stream, u.Data...)
	}
	path := filepath.Join(t.TempDir(), "seen.h264")
	if err := os.WriteFile(path, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	var looks []look
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := engine.Read(ctx, plan.Source{URL: path}, engine.Handlers{
		Info:    func(engine.Info) {},
		Frame:   func(f *engine.Frame) { looks = append(looks, lookAt(f)); f.Release() },
		Warning: func(s string) { t.Logf("decode what was seen: %s", s) },
	})
	if err != nil {
		t.Fatalf("decode what was seen (%d units): %v", len(units), err)
	}
	return looks
}

func lookAt(f *engine.Frame) look {
	l := look{width: f.Width, height: f.Height, corrupt: f.Corrupted, at: f.PTS}
	l.ground = f.Planes[0][(f.Height-8)*f.Stride[0]+8]
	// The block's edges, along a line through its middle.
	row := f.Planes[0][f.Height/2*f.Stride[0]:][:f.Width]
	const between = (groundLuma + blockLuma) / 2
	run := 0
	for x, v := range row {
		if v < between {
			run = 0
			continue
		}
		if run++; run > f.Width/16 {
			l.left, l.right = x-run+1, x+1
		}
	}
	step := 1
	if f.Format == plan.NV12 {
		step = 2
	}
	sample := func(plane, off, x, y int) int {
		return int(f.Planes[plane][y*f.Stride[plane]+x*step+off]) - 128
	}
	l.colouredBounds = [4]int{f.Width, f.Height, 0, 0}
	for y := range f.Height / 2 {
		for x := range f.Width / 2 {
			u, v := sample(1, 0, x, y), 0
			if f.Format == plan.NV12 {
				v = sample(1, 1, x, y)
			} else {
				v = sample(2, 0, x, y)
			}
			if u*u+v*v < 24*24 {
				continue
			}
			l.coloured++
			b := &l.colouredBounds
			b[0], b[1], b[2], b[3] = min(b[0], 2*x), min(b[1], 2*y), max(b[2], 2*x+2), max(b[3], 2*y+2)
		}
	}
	return l
}
