package main

import (
	"bytes"
	"encoding/json"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// One JSON line a measurement; a goal that is missed fails the run.
func TestReport(t *testing.T) {
	for _, c := range []struct {
		value float64
		goal  goal
		text  string
		pass  bool
	}{
		{4, atMost(4), "<= 4", true}, {4.01, atMost(4), "<= 4", false},
		{0.9, atLeast(0.9), ">= 0.9", true}, {0.89, atLeast(0.9), ">= 0.9", false},
		{0.36, within(0.356, 0.01), "0.356 +- 0.01", true}, {0.367, within(0.356, 0.01), "0.356 +- 0.01", false},
		{17, told(), "", true},
	} {
		var out bytes.Buffer
		b := &bench{name: "live", out: json.NewEncoder(&out)}
		b.out.SetEscapeHTML(false)
		b.report("delay", c.value, "ms", c.goal)
		var m measurement
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", out.String(), err)
		}
		if want := (measurement{"live", "delay", c.value, "ms", c.text, c.pass}); m != want || b.failed == c.pass {
			t.Errorf("%+v, failed %v; want %+v", m, b.failed, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	histogram := func(counts ...uint64) *dto.Histogram {
		h := &dto.Histogram{SampleCount: new(uint64)}
		for i, n := range counts {
			*h.SampleCount += n
			sum, bound := *h.SampleCount, float64(i+1)
			h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: &sum, UpperBound: &bound})
		}
		return h
	}
	before, after := histogram(100, 0, 0), histogram(100, 50, 50)
	for q, want := range map[float64]float64{0.25: 1.5, 0.5: 2, 0.75: 2.5, 1: 3} {
		if got := quantile(q, before, after); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestUnknownBenchmark(t *testing.T) {
	if code := run([]string{"speed"}, &bytes.Buffer{}); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
}
