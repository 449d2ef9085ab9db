package worker

import (
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// What may wait of a peer's track for the worker to read it: some seconds' pictures, in
// which it comes up, and what they weigh (a client may send keyframes only).
const (
	mediaQueue = 128
	mediaBytes = 32 << 20
)

// mediaBatch is how many pictures are sent before other commands get their turn.
const mediaBatch = 4

// outbox holds what a worker is still to be told. It is bounded by its shape:
// of each command only the latest matters, so a slot for each is enough, and
// whoever gives a command never waits. Of a peer's pictures a bounded number waits.
type outbox struct {
	mu       sync.Mutex
	start    *link.Start
	want     *link.Want
	throttle *link.Throttle
	grow     *link.Grow
	pause    *link.Pause
	selected *link.Select
	credit   *link.Credit
	media    []link.AccessUnit // in order
	weight   int               // of media, bytes
	end      bool              // behind all media
	keyframe [2]bool           // by codec: H264, VP8
	stop     bool
	wake     chan struct{} // capacity 1
}

func (o *outbox) put(change func(*outbox)) {
	o.mu.Lock()
	change(o)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// addMedia takes a picture if there is room for it; mu is held.
func (o *outbox) addMedia(u link.AccessUnit) bool {
	if len(o.media) >= mediaQueue || o.weight+len(u.Data) > mediaBytes {
		return false
	}
	o.media = append(o.media, u)
	o.weight += len(u.Data)
	return true
}

// slots is how many commands there are a place for; see commands.
const slots = 11

// commands is how many commands wait.
func (o *outbox) commands() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, waits := range [slots]bool{
		o.start != nil, o.want != nil, o.throttle != nil, o.grow != nil, o.pause != nil, o.selected != nil,
		o.credit != nil, o.end, o.keyframe[0], o.keyframe[1], o.stop,
	} {
		if waits {
			n++
		}
	}
	return n
}

// pictures is how many pictures wait.
func (o *outbox) pictures() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.media)
}

// mediaWeight is how many bytes those have.
func (o *outbox) mediaWeight() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.weight
}

// take empties the outbox into messages, in the order that makes sense to a
// worker: first what to do, last that it is over. Of pictures it takes a few: what
// waits behind them must not wait for all of them to be read.
func (o *outbox) take() []link.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []link.Message
	if o.start != nil {
		out = append(out, link.Message{Kind: link.KindStart, Value: *o.start})
	}
	if o.want != nil {
		out = append(out, link.Message{Kind: link.KindWant, Value: *o.want})
	}
	if o.throttle != nil {
		out = append(out, link.Message{Kind: link.KindThrottle, Value: *o.throttle})
	}
	if o.grow != nil {
		out = append(out, link.Message{Kind: link.KindGrow, Value: *o.grow})
	}
	if o.pause != nil {
		out = append(out, link.Message{Kind: link.KindPause, Value: *o.pause})
	}
	if o.selected != nil {
		out = append(out, link.Message{Kind: link.KindSelect, Value: *o.selected})
	}
	if o.credit != nil {
		out = append(out, link.Message{Kind: link.KindCredit, Value: *o.credit})
	}
	out = o.takeMedia(out)
	for i, codec := range [...]link.Codec{link.H264, link.VP8} {
		if o.keyframe[i] {
			out = append(out, link.Message{Kind: link.KindKeyframe, Value: link.Keyframe{Codec: codec}})
		}
	}
	if o.stop {
		out = append(out, link.Message{Kind: link.KindStop})
	}
	o.grow, o.pause, o.selected, o.credit = nil, nil, nil, nil
	o.start, o.want, o.throttle, o.keyframe, o.stop = nil, nil, nil, [2]bool{}, false
	return out
}

// takeMedia takes the next pictures, and the track's end behind the last.
func (o *outbox) takeMedia(out []link.Message) []link.Message {
	n := min(len(o.media), mediaBatch)
	for i, u := range o.media[:n] {
		out = append(out, link.Message{Kind: link.KindMedia, Value: u})
		o.weight -= len(u.Data)
		o.media[i] = link.AccessUnit{} // its bytes are not kept by the array
	}
	o.media = o.media[n:]
	switch {
	case len(o.media) > 0:
		o.signal()
	case o.end:
		out = append(out, link.Message{Kind: link.KindEnd})
		o.end = false
		fallthrough
	default:
		o.media = nil
	}
	return out
}
