package coco

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Area is a range of object sizes in square pixels; both ends belong to it.
type Area struct{ Min, Max float64 }

// The ranges of the COCO figures.
var (
	All    = Area{0, 1e10}
	Small  = Area{0, 32 * 32}
	Medium = Area{32 * 32, 96 * 96}
	Large  = Area{96 * 96, 1e10}
)

// maxDetections is how many results of an image and category count, best first.
const maxDetections = 100

// Score is a mean average precision over the categories that have objects in
// the range; -1 where none has.
type Score struct {
	// MAP is the mean over the overlaps (IoU) 0.50, 0.55, ... 0.95.
	MAP float64
	// MAP50 and MAP75 are those for one overlap.
	MAP50, MAP75 float64
	// ByCategory is MAP of each category that has objects, by its id.
	ByCategory map[int]float64
}

// thresholds are the overlaps, as numpy.linspace(.5, .95, 10) gives them.
func thresholds() (t [10]float64) {
	for i := range t {
		t[i] = 0.5 + float64(i)*0.05
	}
	t[9] = 0.95
	return t
}

// Evaluate compares results with the annotations. Only objects whose size is in
// the area count; All takes every one.
func Evaluate(d *Dataset, results []Result, area Area) Score {
	type key struct{ image, category int }
	truth, found := map[key][]Annotation{}, map[key][]Result{}
	for _, a := range d.Annotations {
		k := key{a.Image, a.Category}
		truth[k] = append(truth[k], a)
	}
	for _, r := range results {
		k := key{r.Image, r.Category}
		found[k] = append(found[k], r)
	}
	images := make([]int, 0, len(d.Images))
	for _, i := range d.Images {
		images = append(images, i.ID)
	}
	slices.Sort(images)

	score := Score{ByCategory: map[int]float64{}}
	var sums [10]float64
	categories := 0
	for _, c := range d.Categories {
		var m matches
		for _, i := range images {
			m.image(truth[key{i, c.ID}], found[key{i, c.ID}], area)
		}
		if m.objects == 0 {
			continue
		}
		categories++
		total := 0.0
		for t := range sums {
			p := m.precision(t)
			sums[t] += p
			total += p
		}
		score.ByCategory[c.ID] = total / float64(len(sums))
	}
	if categories == 0 {
		return Score{MAP: -1, MAP50: -1, MAP75: -1}
	}
	for t := range sums {
		sums[t] /= float64(categories)
		score.MAP += sums[t] / float64(len(sums))
	}
	score.MAP50, score.MAP75 = sums[0], sums[5]
	return score
}

// matches collects, for one category, what became of each result.
type matches struct {
	objects int // that must be found
	scores  []float64
	fate    [10][]fate // by overlap, in the order of scores
}

type fate uint8

const (
	wrong fate = iota
	right
	ignored // matched what neither must be found nor must not
)

// image matches the results of one image with its objects, best result first:
// each takes the free object that it overlaps most, one that counts before one
// that does not; a crowd can be taken again and again.
func (m *matches) image(truth []Annotation, found []Result, area Area) {
	outside := func(a float64) bool { return a < area.Min || a > area.Max }
	ignore := func(a Annotation) bool { return a.Crowd != 0 || outside(a.Area) }
	truth, found = slices.Clone(truth), slices.Clone(found)
	slices.SortStableFunc(truth, func(a, b Annotation) int {
		switch ia, ib := ignore(a), ignore(b); {
		case ia == ib:
			return 0
		case ib:
			return -1
		}
		return 1
	})
	slices.SortStableFunc(found, func(a, b Result) int { return cmp.Compare(b.Score, a.Score) })
	found = found[:min(len(found), maxDetections)]
	for _, g := range truth {
		if !ignore(g) {
			m.objects++
		}
	}
	for _, r := range found {
		m.scores = append(m.scores, r.Score)
	}
	for t, threshold := range thresholds() {
		taken := make([]bool, len(truth))
		for _, r := range found {
			best, at := min(threshold, 1-1e-10), -1
			for i, g := range truth {
				if taken[i] && g.Crowd == 0 {
					continue
				}
				if at >= 0 && !ignore(truth[at]) && ignore(g) {
					break
				}
				if o := overlap(r.Box, g.Box, g.Crowd != 0); o >= best {
					best, at = o, i
				}
			}
			f := wrong
			switch {
			case at >= 0 && ignore(truth[at]):
				f = ignored
			case at >= 0:
				f = right
			case outside(r.Box[2] * r.Box[3]):
				f = ignored
			}
			if at >= 0 {
				taken[at] = true
			}
			m.fate[t] = append(m.fate[t], f)
		}
	}
}

// overlap is the IoU of two x, y, width, height boxes; of a crowd, the part of
// the result that is inside.
func overlap(r, g [4]float64, crowd bool) float64 {
	w := min(r[0]+r[2], g[0]+g[2]) - max(r[0], g[0])
	h := min(r[1]+r[3], g[1]+g[3]) - max(r[1], g[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	union := r[2] * r[3]
	if !crowd {
		union += g[2]*g[3] - w*h
	}
	return w * h / union
}

// precision is the mean of the best precision at 101 recalls, 0 to 1, for one
// overlap.
func (m *matches) precision(t int) float64 {
	order := make([]int, len(m.scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(m.scores[b], m.scores[a]) })
	var tp, fp float64
	var recall, precision []float64
	for _, i := range order {
		switch m.fate[t][i] {
		case right:
			tp++
		case wrong:
			fp++
		}
		recall = append(recall, tp/float64(m.objects))
		precision = append(precision, tp/(fp+tp+0x1p-52))
	}
	for i := len(precision) - 2; i >= 0; i-- {
		precision[i] = math.Max(precision[i], precision[i+1])
	}
	sum := 0.0
	for i := range 101 {
		at := sort.SearchFloat64s(recall, recallPoint(i))
		if at < len(precision) {
			sum += precision[at]
		}
	}
	return sum / 101
}

// recallPoint is numpy.linspace(0, 1, 101)[i].
func recallPoint(i int) float64 { return float64(i) * 0.01 }
