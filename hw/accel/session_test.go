package accel_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/hw/accel"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// cast is a model that turns one element type into another.
func cast(from, to int, dims ...int64) []byte {
	return acceltest.Graph{
		Inputs:  []acceltest.Value{{Name: "x", Type: from, Dims: dims}},
		Outputs: []acceltest.Value{{Name: "y", Type: to, Dims: dims}},
		Nodes:   []acceltest.Node{{Op: "Cast", In: []string{"x"}, Out: []string{"y"}, Attr: map[string]int64{"to": int64(to)}}},
	}.Bytes()
}

func load(t testing.TB, model []byte, o accel.Options) *accel.Session {
	t.Helper()
	if o.Threads == 0 {
		o.Threads = 1
	}
	s, err := acceltest.Runtime(t).Load(model, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestElementTypes(t *testing.T) {
	in := []float32{0, 1, 2.4, 2.6, 200, 300, -3, 0.5}
	for _, c := range []struct {
		name     string
		from, to int
		want     []float32
	}{
		{"float32", acceltest.Float32, acceltest.Float32, in},
		{"uint8 in saturates and rounds", acceltest.Uint8, acceltest.Float32, []float32{0, 1, 2, 3, 200, 255, 0, 0}},
		{"float16 in and out", acceltest.Float16, acceltest.Float16, []float32{0, 1, 2.4003906, 2.5996094, 200, 300, -3, 0.5}},
		{"int64 out truncates", acceltest.Float32, acceltest.Int64, []float32{0, 1, 2, 2, 200, 300, -3, 0}},
		{"float16 in", acceltest.Float16, acceltest.Float32, []float32{0, 1, 2.4003906, 2.5996094, 200, 300, -3, 0.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := load(t, cast(c.from, c.to, 1, 8), accel.Options{Providers: []string{"CPU"}})
			for range 2 { // the second run must not see what the first left
				copy(s.Input(0), in)
				if err := s.Run(); err != nil {
					t.Fatal(err)
				}
				got, shape := s.Output(0)
				if !slices.Equal(got, c.want) || !slices.Equal(shape, []int64{1, 8}) {
					t.Errorf("output %v of shape %v, want %v", got, shape, c.want)
				}
			}
		})
	}
}

func TestOpenDimensions(t *testing.T) {
	model := cast(acceltest.Float32, acceltest.Float32, -1, 3, -1, -1)
	if _, err := acceltest.Runtime(t).Load(model, accel.Options{}); err == nil || !strings.Contains(err.Error(), "picture size open") {
		t.Errorf("Load without a size: %v", err)
	}
	s := load(t, model, accel.Options{InputSize: [2]int{4, 2}})
	if got := s.Inputs()[0].Shape; !slices.Equal(got, []int64{1, 3, 2, 4}) {
		t.Errorf("input shape %v, want [1 3 2 4]", got)
	}
	for run := range 3 {
		for i := range s.Input(0) {
			s.Input(0)[i] = float32(i + run)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		got, shape := s.Output(0)
		if !slices.Equal(got, s.Input(0)) || !slices.Equal(shape, []int64{1, 3, 2, 4}) {
			t.Errorf("run %d: output %v of shape %v", run, got, shape)
		}
	}
}

// TestOpenOutput: an output whose length depends on the data is read after each run.
func TestOpenOutput(t *testing.T) {
	s := load(t, acceltest.Graph{
		Inputs:  []acceltest.Value{{Name: "x", Type: acceltest.Float32, Dims: []int64{4}}},
		Outputs: []acceltest.Value{{Name: "y", Type: acceltest.Int64, Dims: []int64{1, -1}}},
		Nodes:   []acceltest.Node{{Op: "NonZero", In: []string{"x"}, Out: []string{"y"}}},
	}.Bytes(), accel.Options{})
	for _, c := range []struct{ in, want []float32 }{
		{[]float32{0, 5, 0, 5}, []float32{1, 3}},
		{[]float32{1, 1, 1, 1}, []float32{0, 1, 2, 3}},
		{[]float32{0, 0, 7, 0}, []float32{2}},
	} {
		copy(s.Input(0), c.in)
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		got, shape := s.Output(0)
		if !slices.Equal(got, c.want) || !slices.Equal(shape, []int64{1, int64(len(c.want))}) {
			t.Errorf("NonZero(%v) = %v of shape %v, want %v", c.in, got, shape, c.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	rt := acceltest.Runtime(t)
	for _, c := range []struct {
		name  string
		model []byte
		o     accel.Options
		says  string
	}{
		{"empty", nil, accel.Options{}, "empty"},
		{"not a model", []byte("GIF89a, certainly no protobuf"), accel.Options{}, "load model"},
		{"unknown provider", cast(1, 1, 4), accel.Options{Providers: []string{"CUDDA"}}, `unknown execution provider "CUDDA"`},
		{"strings", acceltest.Graph{
			Inputs:  []acceltest.Value{{Name: "text", Type: acceltest.String, Dims: []int64{1}}},
			Outputs: []acceltest.Value{{Name: "y", Type: acceltest.String, Dims: []int64{1}}},
			Nodes:   []acceltest.Node{{Op: "Identity", In: []string{"text"}, Out: []string{"y"}}},
		}.Bytes(), accel.Options{}, `"text"`},
		{"huge", cast(1, 1, 1<<20, 1<<20), accel.Options{}, "not one to allocate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := rt.Load(c.model, c.o)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Load: %v, want it to say %q", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error of more than one line: %q", err)
			}
		})
	}
}

// TestFallsBackToCPU: a provider that is not to be had costs nothing but a line.
func TestFallsBackToCPU(t *testing.T) {
	var log bytes.Buffer
	rt := acceltest.Runtime(t)
	if slices.Contains(rt.Providers(), "CUDA") {
		t.Skip("CUDA works here: nothing to fall back from")
	}
	s := load(t, cast(1, 1, 4), accel.Options{Providers: []string{"cuda"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if s.Provider() != accel.CPU || len(s.Refused()) != 1 || s.Refused()[0].Provider != "CUDA" || s.Refused()[0].Reason == "" {
		t.Errorf("provider %s, refused %+v", s.Provider(), s.Refused())
	}
	if !strings.Contains(log.String(), "provider=CPU") || !strings.Contains(log.String(), "refused_CUDA=") {
		t.Errorf("log: %s", log.String())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := s.Run(); !errors.Is(err, accel.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

func yolox(t testing.TB) []byte {
	t.Helper()
	model, err := os.ReadFile(acceltest.Media(t, "models/yolox_nano.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func BenchmarkLoad(b *testing.B) {
	model := yolox(b)
	rt := acceltest.Runtime(b)
	for b.Loop() {
		s, err := rt.Load(model, accel.Options{Threads: 2})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

func BenchmarkRun(b *testing.B) {
	model := yolox(b)
	for _, c := range []struct {
		name string
		o    accel.Options
	}{
		{"threads=1", accel.Options{Threads: 1}},
		{"threads=2", accel.Options{Threads: 2}},
		{"threads=2,spin", accel.Options{Threads: 2, Spin: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := load(b, model, c.o)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
