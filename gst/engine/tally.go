package engine

import (
	"context"
	"time"
)

// tally knows which of the units that were given became frames.
type tally struct {
	seen      uint64 // the newest unit whose frame came
	blamed    uint64 // the newest unit that is known to have given none
	quiet     int    // how often in a row nothing came though the decoder is done
	choices   int    // decoders that may be tried
	reordered bool   // frames come in another order than their units
}

// Of a decoder that is done with all that it was given and has given less: how many
// waits of pullStep are left to one that works on its own, and how many before
// another is tried, as long as none gave anything.
const (
	grace    = 2
	lastWord = 10
)

// decode plays all that is given. Where Read would end because nothing can be made
// of it, this goes on with the next keyframe.
func (g *given) decode(ctx context.Context) error {
	r := g.r
	for barren := 1; ; barren++ {
		first, err := g.first(ctx)
		if first == nil {
			return err
		}
		f := &feeder{r: r, backlog: []*unit{first}}
		s := describe(first)
		s.bare = true
		list := candidates(r.src, s, first)
		if len(list) == 0 {
			f.free()
			return r.cannot(s)
		}
		g.tally = tally{choices: len(list)}
		err = r.decodeBy(ctx, f, s, list)
		f.free()
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.warnings.add(err.Error())
		g.refresh()
		if err := g.rest(ctx, barren); err != nil {
			return err
		}
	}
}

// first is the next keyframe.
func (g *given) first(ctx context.Context) (*unit, error) {
	for {
		u, err := g.r.first(ctx)
		if u == nil || u.keyframe {
			return u, err
		}
		u.free()
		g.refresh()
	}
}

// rest keeps units that break decoders, one after the other, from keeping the
// machine busy with starting them.
func (g *given) rest(ctx context.Context, barren int) error {
	g.refresh()
	if barren <= restarts {
		return nil
	}
	t := time.NewTimer(min(time.Duration(barren)*20*time.Millisecond, time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// came notes a frame, and those that did not come before it.
func (g *given) came(p pulled, d *decoder) {
	w := &g.tally
	w.quiet = 0
	if p.seq == 0 {
		return // the decoder does not tell
	}
	if p.seq < w.seen {
		w.reordered = true
		return
	}
	known, begun := max(w.seen, w.blamed), w.seen > 0
	w.seen = p.seq
	if d.lastKey.Load() >= p.seq {
		return // a keyframe is there already
	}
	switch {
	case p.frame.Corrupted:
		g.r.warnings.add("a picture is damaged")
		g.refresh()
	case begun && !w.reordered && p.seq > known+1:
		g.r.warnings.add("a picture could not be decoded")
		g.refresh()
	}
}

// missing is asked while no frame comes. It tells of units that the decoder gave
// nothing for, and returns why another decoder should be tried.
func (g *given) missing(d *decoder) *Error {
	w := &g.tally
	newest := d.newest.Load()
	if newest <= w.seen || !d.idle() || len(g.r.units) > 0 {
		w.quiet = 0
		return nil
	}
	w.quiet++
	if w.quiet >= grace && newest > w.blamed {
		w.blamed = newest
		g.r.warnings.add("a picture could not be decoded")
		g.refresh()
	}
	if g.r.frames == 0 && w.choices > 1 && w.quiet >= lastWord {
		return fail(Damaged, "%s: %s gives no picture", g.r.name, d.element)
	}
	return nil
}
