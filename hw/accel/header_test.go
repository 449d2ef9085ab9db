package accel_test

import (
	"os"
	"slices"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// TestHeader: what we read is what ONNX Runtime reads.
func TestHeader(t *testing.T) {
	acceltest.Runtime(t)
	models := map[string][]byte{
		"cast": cast(acceltest.Float16, acceltest.Int64, 1, 8),
		"open": cast(acceltest.Float32, acceltest.Uint8, -1, 3, -1, 20),
		"two":  acceltest.Detector(32, 16, acceltest.Constant{Name: "a", Dims: []int64{1, 2}, Data: []float32{1, 2}}, acceltest.Constant{Name: "b", Dims: []int64{1}, Data: []float32{3}}),
	}
	// A weight that is listed among the inputs is none.
	listed := acceltest.Graph{
		Inputs:    []acceltest.Value{{Name: "x", Type: acceltest.Float32, Dims: []int64{2}}, {Name: "w", Type: acceltest.Float32, Dims: []int64{2}}},
		Outputs:   []acceltest.Value{{Name: "y", Type: acceltest.Float32, Dims: []int64{2}}},
		Nodes:     []acceltest.Node{{Op: "Mul", In: []string{"x", "w"}, Out: []string{"y"}}},
		Constants: []acceltest.Constant{{Name: "w", Dims: []int64{2}, Data: []float32{3, 4}}},
	}
	models["weight among inputs"] = listed.Bytes()
	for _, name := range []string{"yolox_nano.onnx", "FastestDet.onnx"} {
		data, err := os.ReadFile(acceltest.Media(t, "models/"+name))
		if err != nil {
			t.Fatal(err)
		}
		models[name] = data
	}
	for name, data := range models {
		ins, outs, err := accel.Header(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantIns, wantOuts, err := ort.GetInputOutputInfoWithONNXData(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		same(t, name+" inputs", ins, wantIns)
		same(t, name+" outputs", outs, wantOuts)
	}
}

func same(t *testing.T, name string, got, want []ort.InputOutputInfo) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b ort.InputOutputInfo) bool {
		return a.Name == b.Name && a.OrtValueType == b.OrtValueType && a.DataType == b.DataType && slices.Equal(a.Dimensions, b.Dimensions)
	}) {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// FuzzHeader: no bytes make the reader panic or run away.
func FuzzHeader(f *testing.F) {
	f.Add(cast(acceltest.Float32, acceltest.Uint8, -1, 3, -1, 20))
	f.Add(acceltest.Detector(32, 16, acceltest.Constant{Name: "a", Dims: []int64{1}, Data: []float32{1}}))
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		ins, outs, err := accel.Header(data)
		if err != nil {
			return
		}
		if len(ins)+len(outs) > len(data) {
			t.Errorf("%d inputs and %d outputs out of %d bytes", len(ins), len(outs), len(data))
		}
	})
}
