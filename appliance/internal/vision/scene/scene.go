package scene

import (
	"errors"
	"fmt"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// ErrSize is returned by New for pictures that cannot be drawn.
var ErrSize = errors.New("size of the demo scene")

// Scene draws the frames of one size and rate. Once made it does not change, but
// for scratch memory: it is used by one goroutine at a time.
type Scene struct {
	w, h   int
	fps    float64
	cast   []actor
	planes [3][]byte // the backdrop, I420 without padding
	uv     []byte    // its chroma as NV12 has it
	parts  []part
}

// New makes a scene for pictures of w x h pixels, from 16x16 to 8192x8192, at
// fps frames a second.
func New(w, h int, fps float64) (*Scene, error) {
	if w < 16 || h < 16 || w > 8192 || h > 8192 || !(fps > 0 && fps <= 1000) {
		return nil, fmt.Errorf("%w: %dx%d at %v frames a second is not possible (16x16 to 8192x8192, up to 1000)", ErrSize, w, h, fps)
	}
	s := &Scene{w: w, h: h, fps: fps, cast: cast()}
	s.planes = planes(backdrop(w, h), h)
	s.uv = make([]byte, 2*len(s.planes[1]))
	for i, u := range s.planes[1] {
		s.uv[2*i], s.uv[2*i+1] = u, s.planes[2][i]
	}
	return s, nil
}

// Draw fills p with frame n. It draws nothing and tells so with an error if the
// picture is not of the scene's size or its planes are too short.
func (s *Scene) Draw(p *vision.Picture, n int) error {
	if err := s.fits(p); err != nil {
		return err
	}
	copyPlane(p.Planes[0], p.Stride[0], s.planes[0], s.w, s.h)
	cw, ch := (s.w+1)/2, (s.h+1)/2
	if p.Format == vision.NV12 {
		copyPlane(p.Planes[1], p.Stride[1], s.uv, 2*cw, ch)
	} else {
		copyPlane(p.Planes[1], p.Stride[1], s.planes[1], cw, ch)
		copyPlane(p.Planes[2], p.Stride[2], s.planes[2], cw, ch)
	}
	t := s.seconds(n)
	for i := range s.cast {
		s.parts = s.cast[i].pose(s.parts[:0], t, float64(s.w), float64(s.h))
		for _, k := range s.parts {
			k.draw(p)
		}
	}
	s.clock(p, n)
	return nil
}

// Truth tells where the figures of frame n are, cut at the frame's edges, those
// in the back first. Figures of which next to nothing is in sight are left out.
func (s *Scene) Truth(n int) []vision.Box {
	var out []vision.Box
	t := s.seconds(n)
	for i := range s.cast {
		parts := s.cast[i].pose(nil, t, float64(s.w), float64(s.h))
		box := parts[0].bounds()
		for _, k := range parts[1:] {
			b := k.bounds()
			box.X0, box.Y0 = min(box.X0, b.X0), min(box.Y0, b.Y0)
			box.X1, box.Y1 = max(box.X1, b.X1), max(box.Y1, b.Y1)
		}
		seen := box.Clip(float32(s.w), float32(s.h))
		if seen.Area() >= box.Area()/10 {
			out = append(out, seen)
		}
	}
	return out
}

func (s *Scene) seconds(n int) float64 { return float64(max(n, 0)) / s.fps }

func (s *Scene) fits(p *vision.Picture) error {
	if p.Width != s.w || p.Height != s.h {
		return fmt.Errorf("%w: the picture is %dx%d, the scene %dx%d", ErrSize, p.Width, p.Height, s.w, s.h)
	}
	cw, ch := (s.w+1)/2, (s.h+1)/2
	need := [3][2]int{{s.w, s.h}, {cw, ch}, {cw, ch}}
	if p.Format == vision.NV12 {
		need = [3][2]int{{s.w, s.h}, {2 * cw, ch}, {}}
	}
	for i, d := range need {
		if p.Stride[i] < d[0] || len(p.Planes[i]) < p.Stride[i]*(d[1]-1)+d[0] {
			return fmt.Errorf("%w: plane %d holds %d bytes in rows of %d", ErrSize, i, len(p.Planes[i]), p.Stride[i])
		}
	}
	return nil
}

func copyPlane(dst []byte, stride int, src []byte, w, h int) {
	for y := range h {
		copy(dst[y*stride:][:w], src[y*w:])
	}
}

// segments of the digits 0 to 9: bits for top, upper left, upper right, middle,
// lower left, lower right, bottom.
var segments = [10]uint8{0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f}

// clock shows minutes and seconds of the scene and the number of the frame. It
// is dim on purpose: it must not count as motion.
func (s *Scene) clock(p *vision.Picture, n int) {
	u := float64(max(s.h*24/720, 8)) // height of a digit
	x, y := u*0.9, u*0.8
	sec := int(s.seconds(n))
	digits := [...]int{sec / 600 % 6, sec / 60 % 10, -1, sec / 10 % 6, sec % 10, -2,
		n / 100000 % 10, n / 10000 % 10, n / 1000 % 10, n / 100 % 10, n / 10 % 10, n % 10}
	plate := part{x0: x - u*0.1, y0: y + u/2, x1: x + u*7.2, y1: y + u/2, r: u * 0.8, c: tone(rgb{20, 22, 30}, s.h)}
	plate.draw(p)
	ink := tone(rgb{92, 74, 50}, s.h)
	w, line := u*0.46, u*0.055
	bar := func(x0, y0, x1, y1 float64) { part{x0: x0, y0: y0, x1: x1, y1: y1, r: line, c: ink}.draw(p) }
	for _, d := range digits {
		switch d {
		case -1:
			bar(x+u*0.05, y+u*0.3, x+u*0.05, y+u*0.3)
			bar(x+u*0.05, y+u*0.7, x+u*0.05, y+u*0.7)
			x += u * 0.3
			continue
		case -2:
			x += u * 0.5
			continue
		}
		for i, l := range [7][4]float64{{0, 0, 1, 0}, {0, 0, 0, 1}, {1, 0, 1, 1}, {0, 1, 1, 1}, {0, 1, 0, 2}, {1, 1, 1, 2}, {0, 2, 1, 2}} {
			if segments[max(d, 0)]>>i&1 != 0 {
				bar(x+l[0]*w, y+l[1]*u/2, x+l[2]*w, y+l[3]*u/2)
			}
		}
		x += u * 0.68
	}
}
