package output

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

func TestSuppress(t *testing.T) {
	a := object(0, 0, 10, 10, 0, 0.9)
	near := object(1, 0, 11, 10, 0, 0.8)  // IoU 9/11 with a
	other := object(1, 0, 11, 10, 1, 0.7) // another class
	far := object(30, 0, 40, 10, 0, 0.6)
	half := object(5, 0, 15, 10, 0, 0.5) // IoU 1/3 with a
	var s Suppressor
	for _, c := range []struct {
		iou   float32
		limit int
		want  []vision.Detection
	}{
		{0.45, 0, []vision.Detection{a, other, far, half}},
		{0.3, 0, []vision.Detection{a, other, far}},
		{0.82, 0, []vision.Detection{a, near, other, far, half}},
		{0.45, 2, []vision.Detection{a, other}},
		{0, 0, []vision.Detection{a, near, other, far, half}},
	} {
		got := s.Suppress([]vision.Detection{half, far, near, a, other}, c.iou, c.limit)
		if !slices.Equal(got, c.want) {
			t.Errorf("Suppress(%v, %d) = %v, want %v", c.iou, c.limit, got, c.want)
		}
	}
	if got := s.Suppress(nil, 0.5, 0); len(got) != 0 {
		t.Errorf("Suppress(nil) = %v", got)
	}
}

// TestSuppressAgainstPlain compares with the suppression as textbooks have it.
func TestSuppressAgainstPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Suppressor
	for round := range 50 {
		dets := noise(r, 1+r.IntN(400))
		plain := slices.Clone(dets)
		slices.SortStableFunc(plain, func(a, b vision.Detection) int {
			switch {
			case a.Score > b.Score:
				return -1
			case a.Score < b.Score:
				return 1
			}
			return 0
		})
		var want []vision.Detection
		for _, d := range plain {
			if !slices.ContainsFunc(want, func(w vision.Detection) bool { return w.Class == d.Class && w.IoU(d.Box) > 0.5 }) {
				want = append(want, d)
			}
		}
		if got := s.Suppress(dets, 0.5, 0); !slices.Equal(got, want) {
			t.Fatalf("round %d: %d kept, want %d", round, len(got), len(want))
		}
	}
}

func noise(r *rand.Rand, n int) []vision.Detection {
	var dets []vision.Detection
	for range n {
		x, y := r.Float32()*400, r.Float32()*400
		dets = append(dets, object(x, y, x+10+r.Float32()*80, y+10+r.Float32()*80, r.IntN(4), r.Float32()))
	}
	return dets
}

func BenchmarkSuppress(b *testing.B) {
	dets := noise(rand.New(rand.NewPCG(3, 4)), 1000)
	work := make([]vision.Detection, len(dets))
	var s Suppressor
	s.Suppress(slices.Clone(dets), 0.5, 300)
	b.ReportAllocs()
	for b.Loop() {
		copy(work, dets)
		s.Suppress(work, 0.5, 300)
	}
}

// BenchmarkDecode decodes frames with some objects, as they come from real models.
func BenchmarkDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct {
		spec  Spec
		shape []int64
	}{
		{Spec{Family: YOLOX, Classes: 80, Width: 416, Height: 416}, []int64{1, 3549, 85}},
		{Spec{Family: YOLOv8, Classes: 80, Width: 640, Height: 640}, []int64{1, 84, 8400}},
		{Spec{Family: NanoDet, Classes: 80, Width: 416, Height: 416}, []int64{1, 3598, 112}},
		{Spec{Family: FastestDet, Classes: 80, Width: 352, Height: 352}, []int64{1, 85, 22, 22}},
	} {
		b.Run(string(c.spec.Family), func(b *testing.B) {
			d, err := New(c.spec)
			if err != nil {
				b.Fatal(err)
			}
			out := []Tensor{tensor("out", c.shape...)}
			for i := range out[0].Data {
				// One in two thousand is high.
				if r.IntN(2000) == 0 {
					out[0].Data[i] = 0.9
				}
			}
			var dets []vision.Detection
			var s Suppressor
			b.ReportAllocs()
			for b.Loop() {
				if dets, err = d.Decode(dets[:0], out, 0.3); err != nil {
					b.Fatal(err)
				}
				s.Suppress(dets, 0.45, 300)
			}
		})
	}
}
