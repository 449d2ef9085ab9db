package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// exposition of one loop after another: counts within 5 ms, 10 ms and beyond, and the maximum.
func exposition(loops map[string][4]float64) string {
	var b, g strings.Builder
	b.WriteString("# TYPE d histogram\n")
	g.WriteString("# TYPE m gauge\n")
	for _, name := range sortedKeys(loops) {
		v := loops[name]
		fmt.Fprintf(&b, "d_bucket{loop=%q,le=\"0.005\"} %v\nd_bucket{loop=%q,le=\"0.01\"} %v\nd_bucket{loop=%q,le=\"+Inf\"} %v\nd_sum{loop=%q} 1\nd_count{loop=%q} %v\n",
			name, v[0], name, v[0]+v[1], name, v[0]+v[1]+v[2], name, name, v[0]+v[1]+v[2])
		fmt.Fprintf(&g, "m{loop=%q} %v\n", name, v[3])
	}
	return b.String() + g.String()
}

// What was before the first look does not count, what a loop did that came and went
// does, and a maximum counts when it is of this while.
func TestTally(t *testing.T) {
	w := newTally("d", "m")
	for _, at := range []map[string][4]float64{
		{"a": {1000, 5, 5, 0.3}, "b": {10, 0, 0, 0.001}},
		{"a": {1990, 15, 5, 0.3}, "b": {20, 0, 0, 0.001}, "c": {1, 0, 1, 0.07}},
		{"a": {2990, 15, 5, 0.3}, "b": {20, 0, 1, 0.02}},
		{"a": {3000, 15, 5, 0.3}, "c": {2, 0, 0, 0.004}},
	} {
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err := p.TextToMetricFamilies(strings.NewReader(exposition(at)))
		if err != nil {
			t.Fatal(err)
		}
		w.add(families)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("count of a", float64(w.loops["a"].count()), 2010)
	near("most of a", w.loops["a"].most, 0.01) // its maximum was before; a bucket's bound is what is known
	near("most of b", w.loops["b"].most, 0.02)
	near("count of c", float64(w.loops["c"].count()), 4) // it was there twice
	near("most of c", w.loops["c"].most, 0.07)
	all := w.all()
	near("count", float64(all.count()), 2010+11+4)
	near("most", all.most, 0.07)
	near("median", all.quantile(0.5), 0.005*(2025*0.5)/2013)
	near("p99.5 of a", w.loops["a"].quantile(0.9975), 0.005+0.005*(2010*0.9975-2000)/10)
	if w.worst(0.999) != "c" || w.longest() != "c" {
		t.Errorf("the worst is %s, the longest %s", w.worst(0.999), w.longest())
	}
}
