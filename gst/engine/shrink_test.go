package engine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/watchpost/watchpost/gst/plan"
)

// sample reads one output's value of an axis by the definition: the mean of the
// area that it covers, or between two samples where it is smaller than one.
func sample(at func(i int) float64, n, m, i int) float64 {
	ratio := float64(n) / float64(m)
	if ratio <= 1 {
		c := min(max((float64(i)+0.5)*ratio-0.5, 0), float64(n-1))
		lo := min(int(c), max(n-2, 0))
		hi := min(lo+1, n-1)
		return at(lo)*(1-(c-float64(lo))) + at(hi)*(c-float64(lo))
	}
	from, to, sum := float64(i)*ratio, float64(i+1)*ratio, 0.0
	for k := int(from); k < n && float64(k) < to; k++ {
		sum += at(k) * (min(to, float64(k+1)) - max(from, float64(k)))
	}
	return sum / ratio
}

func plane(f *Frame, p, step, offset, w, h int) func(dw, dh, x, y int) float64 {
	return func(dw, dh, x, y int) float64 {
		return sample(func(r int) float64 {
			return sample(func(c int) float64 {
				return float64(f.Planes[p][r*f.Stride[p]+c*step+offset])
			}, w, dw, x)
		}, h, dh, y)
	}
}

func TestScaleAveragesAreas(t *testing.T) {
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	s := NewScaler()
	defer s.Close()
	for _, c := range [][4]int{
		{192, 108, 41, 23}, {161, 121, 64, 48}, {64, 48, 161, 121}, {100, 100, 100, 100}, {320, 240, 319, 7},
		{17, 300, 16, 20}, {2, 2, 50, 50}, {640, 64, 30, 64},
	} {
		w, h, dw, dh := c[0], c[1], c[2], c[3]
		cw, ch := (w+1)/2, (h+1)/2
		i420, err := NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		nv12, err := NewFrame(plan.NV12, w, h)
		if err != nil {
			t.Fatal(err)
		}
		for y := range h {
			for x := range w {
				v := byte(rng.Uint32())
				i420.Planes[0][y*i420.Stride[0]+x], nv12.Planes[0][y*nv12.Stride[0]+x] = v, v
			}
		}
		for y := range ch {
			for x := range cw {
				u, v := byte(rng.Uint32()), byte(rng.Uint32())
				i420.Planes[1][y*i420.Stride[1]+x], i420.Planes[2][y*i420.Stride[2]+x] = u, v
				nv12.Planes[1][y*nv12.Stride[1]+2*x], nv12.Planes[1][y*nv12.Stride[1]+2*x+1] = u, v
			}
		}
		a, err := s.Scale(i420, dw, dh)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Scale(nv12, dw, dh)
		if err != nil {
			t.Fatal(err)
		}
		luma, cb, cr := plane(i420, 0, 1, 0, w, h), plane(i420, 1, 1, 0, cw, ch), plane(i420, 2, 1, 0, cw, ch)
		worst := 0.0
		for y := range dh {
			for x := range dw {
				// BT.601, limited range: what pictures of these sizes are.
				l, u, v := (luma(dw, dh, x, y)-16)*255/219, (cb(dw, dh, x, y)-128)*255/224, (cr(dw, dh, x, y)-128)*255/224
				want := [3]float64{l + 1.402*v, l - 0.344136*u - 0.714136*v, l + 1.772*u}
				for k := range 3 {
					got := a.Planes[0][y*a.Stride[0]+3*x+k]
					if other := b.Planes[0][y*b.Stride[0]+3*x+k]; other != got {
						t.Fatalf("%v at %d,%d: NV12 gives %d, I420 %d", c, x, y, other, got)
					}
					worst = max(worst, math.Abs(float64(got)-min(max(want[k], 0), 255)))
				}
			}
		}
		// Weights of eight bits, two roundings on the way, and a matrix that
		// doubles chroma's.
		if worst > 6 {
			t.Errorf("%v: %.1f away from the areas' means", c, worst)
		}
		for _, f := range []*Frame{i420, nv12, a, b} {
			f.Release()
		}
	}
}
