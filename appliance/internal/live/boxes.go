package live

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

const (
	// boxesLabel is the label of the data channel that a viewer opens for boxes.
	boxesLabel = "boxes"
	// boxesQueue is how many frames' boxes may wait for the sending goroutine;
	// boxesName and channelName are the names among the box's queues of that, and of what
	// waits in the viewers' channels, in bytes.
	boxesQueue  = 8
	boxesName   = "live boxes"
	channelName = "boxes to viewers bytes"
	// boxesBuffered is how many bytes may wait in a viewer's data channel; what
	// comes on top is dropped: the next frame's boxes are of more use.
	boxesBuffered = 32 << 10
	// maxBoxes a message: it stays below 64 KiB, which every browser takes.
	maxBoxes = 400
	// boxesNear is how far the time of boxes may be from that of their picture.
	boxesNear = 50 * time.Millisecond
	// channelMemory bounds what a viewer may have us buffer of its messages, of
	// which none is expected.
	channelMemory = 64 << 10
)

// Box is one object, in pixels of the frame, edges.
type Box struct {
	ID    int     `json:"id"`
	Class int     `json:"class"`
	Label string  `json:"label"`
	Score float32 `json:"score"`
	X0    float32 `json:"x0"`
	Y0    float32 `json:"y0"`
	X1    float32 `json:"x1"`
	Y1    float32 `json:"y1"`
}

// Boxes are the objects of one frame.
type Boxes struct {
	// PTS of the H.264 unit that is this frame.
	PTS time.Duration
	// Width and Height of the frame, pixels.
	Width, Height int
	Objects       []Box
}

// boxesMessage is what goes over the data channel.
type boxesMessage struct {
	// RTP is the timestamp of the picture's RTP packets.
	RTP     uint32 `json:"rtp_timestamp"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Objects []Box  `json:"objects"`
}

// boxesCounters are totals of a stream: messages sent, those that slow viewers
// were spared, and frames whose picture was not found.
type boxesCounters struct{ sent, dropped, unmatched atomic.Uint64 }

// PublishBoxes gives the boxes of a frame to those viewers of it that opened a
// data channel for them. The frame's unit was published before, with Own set:
// other pictures have their boxes drawn on. It never blocks.
func (st *Stream) PublishBoxes(b Boxes) {
	if st.channels.Load() == 0 {
		return
	}
	r := st.rendition(H264)
	f := r.near(b.PTS)
	if f == nil || !f.own {
		st.boxCounters.unmatched.Add(1)
		return
	}
	m := boxesMessage{RTP: f.stamp, Width: b.Width, Height: b.Height, Objects: b.Objects[:min(len(b.Objects), maxBoxes)]}
	if m.Objects == nil {
		m.Objects = []Box{}
	}
	text, err := json.Marshal(m)
	if err != nil { // not a number: a fault of the analysis
		st.boxCounters.unmatched.Add(1)
		return
	}
	for {
		select {
		case st.boxes <- text:
			st.signal()
			return
		default:
		}
		select {
		case <-st.boxes:
			st.boxCounters.dropped.Add(1)
			st.boxMeter.Dropped(1)
		default:
		}
	}
}

// sendBoxes hands what waits to the viewers.
func (s *sender) sendBoxes(viewers []*viewer) {
	for {
		select {
		case text := <-s.boxes:
			for _, v := range viewers {
				v.sendBoxes(string(text), &s.boxCounters)
			}
		default:
			return
		}
	}
}

func (v *viewer) sendBoxes(text string, c *boxesCounters) {
	d := v.boxes.Load()
	if d == nil || v.gone.Load() || d.ReadyState() != webrtc.DataChannelStateOpen {
		return
	}
	if d.BufferedAmount() > boxesBuffered || d.SendText(text) != nil {
		c.dropped.Add(1)
		v.boxMeter.Load().Dropped(1)
		return
	}
	c.sent.Add(1)
}

// takeChannels lets a session's viewer open its one data channel for boxes.
func (ses *session) takeChannels() {
	ses.pc.OnDataChannel(func(d *webrtc.DataChannel) {
		if d.Label() != boxesLabel || ses.offer.codec != H264 || !ses.viewer.boxes.CompareAndSwap(nil, d) {
			_ = d.Close() // of no use to us; the viewer's own loss
			return
		}
		ses.stream.channels.Add(1)
		ses.viewer.boxMeter.Store(ses.stream.server.deps.Queues.Register(channelName, queue.DropNewest, boxesBuffered, func() int { return int(d.BufferedAmount()) }))
	})
}

// dropChannels takes note that a session is over.
func (ses *session) dropChannels() {
	if ses.viewer.boxes.Load() != nil {
		ses.stream.channels.Add(-1)
		ses.viewer.boxMeter.Load().Close()
	}
}

// near returns the frame whose presentation time is nearest to one, or nil when
// there is none near it.
func (r *rendition) near(pts time.Duration) (best *frame) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	least := boxesNear
	// Boxes are of one of the last frames.
	for i := len(r.ring) - 1; i >= 0; i-- {
		d := (r.ring[i].pts - pts).Abs()
		if d < least {
			best, least = r.ring[i], d
		} else if best != nil {
			break
		}
	}
	return best
}
