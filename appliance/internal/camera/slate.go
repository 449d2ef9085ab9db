package camera

import (
	"context"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// slateRewrite is the least time for which a reason is shown before its slate worker
// makes way for one with a newer reason: a camera that comes up may refuse in
// ever new words.
const slateRewrite = 30 * time.Second

// slateText is what viewers read while there is no picture.
func (k *control) slateText() string {
	if k.state == Crashing {
		return "The video worker keeps failing; see this camera's page"
	}
	return k.reason
}

// tendSlate has a slate worker running while viewers would have no picture
// otherwise: in the pauses between attempts, on through the next attempt until
// its worker has taken over every rendition that is watched, and after the end.
func (k *control) tendSlate(ctx context.Context, now time.Time, want link.Want) {
	watched := want.H264 || want.VP8
	if r := k.slate; r != nil {
		switch {
		case !watched,
			k.live != nil && k.c.out.serves(k.live.id, want),
			k.live == nil && r.text != k.slateText() && now.Sub(r.began) >= slateRewrite:
			k.stop(r)
		}
		return
	}
	pausing := k.state == Ended || k.waits() || k.retryAt.Sub(now) > shortPause
	if !watched || k.live != nil || !pausing || now.Before(k.slateAt) {
		return
	}
	start := k.c.cfg.Start
	start.Mode, start.Slate, start.Since = "slate", k.slateText(), k.offline
	start.Source = link.Source{} // it needs none, so it learns no credentials
	start.Model = ""
	k.slate = k.spawn(ctx, start, true)
}

// watchSlate looks at the slate run.
func (k *control) watchSlate(now time.Time, r *run) {
	m := k.take(r)
	r.proc = m.proc
	if m.exit == nil {
		return
	}
	k.slate = nil
	k.c.out.forget(r.id)
	if !r.stopping {
		k.slateAt = now.Add(slatePause)
		k.c.log.Warn("the slate's worker ended; viewers see the last picture meanwhile", "err", m.exit.Err, "stderr", m.exit.Stderr)
	}
}

// command passes on what viewers and the box want of the workers.
func (k *control) command(now time.Time, want link.Want) {
	k.c.mu.Lock()
	throttle := k.c.throttle
	k.c.mu.Unlock()
	for _, r := range []*run{k.live, k.slate} {
		if r == nil || r.proc == nil || r.stopping {
			continue
		}
		if r.want != want {
			r.want = want
			r.proc.Want(want)
		}
		if throttle != nil && r.throttle != throttle && !r.slate {
			r.throttle = throttle
			r.proc.Throttle(*throttle)
		}
	}
	for _, codec := range [...]link.Codec{link.H264, link.VP8} {
		if r := k.source(codec); r != nil && k.keys[laneOf(codec)].due(now) {
			r.proc.Keyframe(codec)
		}
	}
}

// source is the run that a keyframe of codec is to come from: the one that is
// forwarded, or that will be. nil: none runs; the request stays pending.
func (k *control) source(codec link.Codec) *run {
	owner := k.c.out.owner(codec)
	var found *run
	for _, r := range []*run{k.slate, k.live} {
		if r == nil || r.proc == nil || r.stopping {
			continue
		}
		if r.id == owner {
			return r
		}
		found = r
	}
	return found
}
