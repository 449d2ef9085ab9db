package hw

import (
	"slices"
	"time"
)

// Element is one candidate and what became of it.
type Element struct {
	Candidate
	// Present: there is such an element on this box.
	Present bool `json:"present"`
	// Proven: it did the clip as it should. The best proven one of a codec is
	// Chosen, the others stand by.
	Proven bool `json:"proven"`
	Chosen bool `json:"chosen"`
	// Reason is why it was refused, in one line; empty if it is proven.
	Reason string `json:"reason,omitempty"`
	// Took is how long the proof ran, Frames how many pictures came of it. The
	// clip is short and small: this tells a stall from health, not fast from slow.
	Took   time.Duration `json:"took_ns,omitempty"`
	Frames int           `json:"frames,omitempty"`
}

// Accelerator is one execution provider of the model runtime.
type Accelerator struct {
	Name    string `json:"name"`
	Proven  bool   `json:"proven"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Report is what a survey found. Its JSON is what the surveying process prints.
type Report struct {
	Elements     []Element     `json:"elements"`
	Accelerators []Accelerator `json:"accelerators"`
	Cameras      []Camera      `json:"cameras"`
	// Kernel is the release of the running kernel, GStreamer the version that proved.
	Kernel    string        `json:"kernel"`
	GStreamer string        `json:"gstreamer"`
	TakenAt   time.Time     `json:"taken_at"`
	Duration  time.Duration `json:"duration_ns"`
	// Provisional: nothing was proven yet, see Provisional.
	Provisional bool `json:"provisional,omitempty"`
}

// Decoders returns the proven decoders of each codec, best first; of a provisional
// report, those to try.
func (r *Report) Decoders() map[string][]string { return r.proven(Decode) }

// Encoders returns the proven encoders of each codec, best first; of a provisional
// report, those to try.
func (r *Report) Encoders() map[string][]string { return r.proven(Encode) }

func (r *Report) proven(role Role) map[string][]string {
	m := map[string][]string{}
	for _, e := range r.Elements {
		if e.Role == role && (e.Proven || r.Provisional) {
			m[e.Codec] = append(m[e.Codec], e.Element)
		}
	}
	return m
}

// Refused returns the names of the elements that are here and were refused for some
// codec, each once. An element that serves several codecs is refused only if it was
// proven for none.
func (r *Report) Refused() []string {
	var names []string
	for _, e := range r.Elements {
		if e.Proven || !e.Present || r.Provisional || slices.Contains(names, e.Element) {
			continue
		}
		if !slices.ContainsFunc(r.Elements, func(o Element) bool { return o.Element == e.Element && o.Proven }) {
			names = append(names, e.Element)
		}
	}
	return names
}

// choose marks the first proven element of each role and codec.
func (r *Report) choose() {
	type key struct {
		role  Role
		codec string
	}
	seen := map[key]bool{}
	for i := range r.Elements {
		e := &r.Elements[i]
		k := key{e.Role, e.Codec}
		e.Chosen = e.Proven && !seen[k]
		seen[k] = seen[k] || e.Proven
	}
}

// sort puts elements into the order of the table: role, codec, then best first.
// Elements of one family keep theirs.
func (r *Report) sort() {
	rank := func(e Element) [3]int {
		role := 0
		if e.Role == Encode {
			role = 1
		}
		place := slices.IndexFunc(table(e.Role)[e.Codec], func(f family) bool {
			return f.kind == e.Kind && (f.kind.Hardware() || f.name == e.Element)
		})
		return [3]int{role, slices.Index(codecOrder[:], e.Codec), place}
	}
	slices.SortStableFunc(r.Elements, func(a, b Element) int {
		x, y := rank(a), rank(b)
		return slices.Compare(x[:], y[:])
	})
}

// Provisional is the report to work with until the first survey is done: the software
// elements, in their order, unproven. A box shows its first picture before the survey
// has ended, and no hardware is touched before it was proven.
func Provisional() *Report {
	r := &Report{Provisional: true}
	for _, role := range []Role{Decode, Encode} {
		for codec, families := range table(role) {
			for _, f := range families {
				if !f.kind.Hardware() {
					r.Elements = append(r.Elements, Element{
						Candidate: Candidate{role, codec, f.name, f.kind},
						Reason:    "not proven yet: the survey is running",
					})
				}
			}
		}
	}
	r.sort()
	return r
}
