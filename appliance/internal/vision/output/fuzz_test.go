package output

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// fuzz decodes arbitrary data in the family's shapes, and in arbitrary ones:
// nothing may panic, and no box may be infinite, empty or without a class.
func fuzz(f *testing.F, spec Spec, shapes func(n int64) []Tensor) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, v := range [][]float32{{0, 1, 0.5}, {nan, inf, -inf, 1}, {1e38, -1e38, 3e38, 1}, {88, 89, 1, 1, 1, 1}, {inf, inf, inf, inf, 1, 1}} {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		f.Add(b, uint8(2), uint8(3), uint8(7), float32(0.1), false)
		f.Add(b, uint8(1), uint8(0), uint8(255), nan, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b, c uint8, threshold float32, all bool) {
		if len(data) < 4 {
			return
		}
		var values []float32
		for ; len(data) >= 4; data = data[4:] {
			values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(data)))
		}
		spec.AllClasses = all
		d, err := New(spec)
		if err != nil {
			t.Fatal(err)
		}
		var s Suppressor
		ways := [][]Tensor{
			shapes(int64(a)),
			{tensor("x", 1, int64(a), int64(b))},
			{tensor("x", int64(a)), tensor("y", 1, int64(b), int64(c))},
			{tensor("boxes", 1, int64(a), 4), tensor("labels", 1, int64(b)), tensor("scores", 1, int64(a))},
			{{Name: "x", Shape: []int64{int64(a) - 8, int64(b), math.MaxInt64, int64(c)}, Data: values}},
		}
		for _, outputs := range ways {
			for _, o := range outputs {
				for i := range o.Data {
					o.Data[i] = values[i%len(values)]
				}
			}
			found, err := d.Decode(nil, outputs, threshold)
			if err != nil {
				continue
			}
			found = s.Suppress(found, 0.5, 300)
			for _, o := range found {
				if !sane(o, spec.Classes) {
					t.Fatalf("object %+v", o)
				}
			}
		}
	})
}

func sane(o vision.Detection, classes int) bool {
	for _, v := range []float32{o.X0, o.Y0, o.X1, o.Y1, o.Score, o.Area()} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return o.X0 < o.X1 && o.Y0 < o.Y1 && o.Class >= 0 && o.Class < classes && o.Score >= 0 && o.Score <= 1
}

func FuzzYOLOX(f *testing.F) {
	fuzz(f, Spec{Family: YOLOX, Classes: 2, Width: 64, Height: 32}, func(int64) []Tensor { return []Tensor{tensor("out", 1, 42, 7)} })
}

func FuzzYOLOv5(f *testing.F) {
	fuzz(f, Spec{Family: YOLOv5, Classes: 2, Width: 64, Height: 32}, func(n int64) []Tensor { return []Tensor{tensor("out", 1, n, 7)} })
}

func FuzzYOLOv8(f *testing.F) {
	fuzz(f, Spec{Family: YOLOv8, Classes: 2, Width: 64, Height: 32}, func(n int64) []Tensor { return []Tensor{tensor("out", 1, 6, n)} })
}

func FuzzNanoDet(f *testing.F) {
	fuzz(f, Spec{Family: NanoDet, Classes: 2, Width: 64, Height: 32, Scores: Sigmoid}, func(n int64) []Tensor {
		if n%2 == 0 {
			return []Tensor{tensor("cls", 1, 42, 2), tensor("reg", 1, 42, 32)}
		}
		return []Tensor{tensor("out", 1, 43, 34)}
	})
}

func FuzzFastestDet(f *testing.F) {
	fuzz(f, Spec{Family: FastestDet, Classes: 2, Width: 64, Height: 32}, func(n int64) []Tensor { return []Tensor{tensor("out", 1, 7, n%9, n/9)} })
}

func FuzzDETR(f *testing.F) {
	fuzz(f, Spec{Family: DETR, Classes: 2, Width: 64, Height: 32}, func(n int64) []Tensor {
		return []Tensor{tensor("boxes", 1, n, 4), tensor("logits", 1, n, 2+n%2)}
	})
}
