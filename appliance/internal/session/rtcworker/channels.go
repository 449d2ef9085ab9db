package rtcworker

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/ingest"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// uploadLabel is the label of the upload channel; every other one is for inference.
	uploadLabel = "video_upload"
	// maxChannels of a peer are served at once; it is told of more by their closing.
	maxChannels = 16
	// maxText is the longest message that is read on an inference channel, bytes.
	maxText = 64 << 10
	// complainEvery bounds how often what a client says wrong is logged.
	complainEvery = time.Second
)

// accept serves a data channel as soon as it is open. It runs on the WebRTC stack's goroutine.
func (l *life) accept(pc *webrtc.PeerConnection, dc *webrtc.DataChannel) {
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		if err != nil {
			l.log.Warn("a channel could not be opened", "label", printable(dc.Label()), "err", err)
			return
		}
		serve := func() { l.infer(dc, raw) }
		if dc.Label() == uploadLabel {
			serve = func() { l.receive(session.NewChannel(l.ctx, dc, raw, l.s.d.Queues)) }
		}
		// A channel that is closed here is read until the peer closes it as well, which it
		// may never do: one too many is not read at all.
		if l.serving.Add(1) > maxChannels || !l.do(func() {
			defer l.serving.Add(-1)
			// The stack may tell of the connection only later, and a session that ends before
			// has nobody to tell why.
			l.connection(pc, webrtc.PeerConnectionStateConnected)
			serve()
		}) {
			l.serving.Add(-1)
			_ = raw.Close() // the session is over, or has enough
		}
	})
}

// infer serves an inference channel until it is closed.
func (l *life) infer(dc *webrtc.DataChannel, raw datachannel.ReadWriteCloser) {
	out := newOutlet(dc, raw)
	defer raw.Close()
	defer l.s.d.Queues.Register(session.OutBytes, queue.Block, highWater, func() int { return int(dc.BufferedAmount()) }).Close()
	if !l.tell(func() { l.opened(out) }) {
		return
	}
	defer l.tell(func() { l.closed(out) })
	var log complaints
	buf := make([]byte, maxText)
	for {
		n, text, err := raw.ReadDataChannel(buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer):
			if n, err = skip(raw); err != nil {
				return
			}
			log.say(l, "a message was too long and is ignored", "bytes", n, "most", maxText)
			continue
		case err != nil:
			return
		case n <= 1:
			l.sign() // a keep-alive, whoever thinks of it
			continue
		case !text:
			// Some clients send their texts as bytes.
			text = buf[0] == '{'
		}
		if !text {
			log.say(l, "a binary message on an inference channel is ignored", "bytes", n)
			continue
		}
		c, err := parseCommand(buf[:n])
		if c.ack != nil {
			l.sign()
			l.tell(func() { l.acknowledged(*c.ack) })
		}
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			l.sender.tell(noticeOf(refused.message))
		case err != nil:
			log.say(l, "a text on an inference channel is ignored", "why", err, "text", printable(string(buf[:min(n, 80)])))
		case c.stream != nil || c.data != nil:
			l.tell(func() { l.change(c) })
		}
	}
}

// skip takes a message out of a channel that found no room in its reader's buffer, where
// the stack keeps it for a larger one. SCTP holds no more than its window, and what was
// missing of it.
func skip(raw datachannel.ReadWriteCloser) (bytes int, err error) {
	bytes, _, err = raw.ReadDataChannel(make([]byte, 2*receiveBuffer))
	return bytes, err
}

// complaints logs what a client does wrong, at most once in a while.
type complaints struct {
	last   time.Time
	unsaid int
}

func (c *complaints) say(l *life, message string, attributes ...any) {
	c.unsaid++
	now := time.Now()
	if now.Sub(c.last) < complainEvery {
		return
	}
	l.log.Info(message, append(attributes, "times", c.unsaid)...)
	c.last, c.unsaid = now, 0
}

// opened has documents go to the first channel that is open.
func (l *life) opened(out *outlet) {
	if l.leaving {
		_ = out.raw.Close() // its reader ends
		return
	}
	l.outlets = append(l.outlets, out)
	if len(l.outlets) == 1 {
		l.choose() // perhaps for the last word alone
	}
}

// closed takes a channel out of use, for another one that is open or for none.
func (l *life) closed(out sink) {
	i := slices.IndexFunc(l.outlets, func(o *outlet) bool { return sink(o) == out })
	if i < 0 {
		return
	}
	l.outlets = slices.Delete(l.outlets, i, i+1)
	if len(l.outlets) == 0 {
		l.hope = time.Now().Add(channelPause) // it may be that all of the connection ends
	}
	if l.finished != nil {
		if len(l.outlets) == 0 && !l.filmed() {
			l.hangUp() // the client has all that it wants
		}
		return
	}
	if i == 0 {
		l.choose()
	}
}

// acknowledged notes that the client has handled all frames up to n.
func (l *life) acknowledged(n uint64) {
	before := l.credit.confirmed()
	if l.credit.ack(n, l.sender.offered.Load()); l.credit.confirmed() > before {
		l.took()
	}
	l.grant()
}

// change takes other outputs, or tells the client why not.
func (l *life) change(c command) {
	if l.finished != nil {
		return
	}
	stream, data := l.stream, l.data
	if c.stream != nil {
		if stream = &c.stream.names; c.stream.absent {
			stream = nil
		}
	}
	if c.data != nil {
		data = c.data.names
	}
	if _, err := l.graph.Choose(stream, data, l.track != nil); err != nil {
		l.sender.tell(noticeOf("The outputs are not changed. " + refusalOf(err).message))
		return
	}
	l.stream, l.data = stream, data
	l.choose()
}

// receive takes files from an upload channel.
func (l *life) receive(ch *session.DataChannel) {
	defer ch.Close()
	if l.taken.Swap(true) {
		_ = ch.WriteText([]byte(`{"error":{"message":"The session has an upload channel already."}}`)) // who is gone learns nothing
		return
	}
	defer l.taken.Store(false)
	err := l.s.d.Receive(l.ctx, ch, l.receiving())
	l.tell(func() { l.uploadEnded(err) })
}

// receiving is what the session makes of what happens on its upload channel.
func (l *life) receiving() Receiving {
	return Receiving{
		Name:  "session " + l.id[:8],
		Heard: func(bytes int) { l.sign(); l.s.metrics.uploaded.Add(uint64(bytes)) },
		Begun: l.begun,
		Complete: func(id, path string) {
			l.tell(func() { l.fileCame(id, path) })
		},
		Failed: func(_ string, err error) {
			l.tell(func() { l.uploadFailed(err) })
		},
	}
}

// uploadFailed ends a session whose file does not come. One that has its source needs no
// other file.
func (l *life) uploadFailed(err error) {
	if !l.started {
		l.end(reasonUpload, "The upload failed: "+printable(err.Error()))
	}
}

// begun notes an upload of this session, which nobody else may remove from now on.
func (l *life) begun(id string, announced bool) {
	l.mu.Lock()
	was, known := l.uploads[id]
	l.uploads[id] = was || announced
	l.mu.Unlock()
	if !known {
		l.s.use(id, 1)
		l.show(func(i *Info) {
			if i.Source == SourceUnknown {
				i.Source = SourceUpload
			}
		})
	}
}

// uploadEnded judges the end of the upload channel.
func (l *life) uploadEnded(err error) {
	if l.finished != nil || l.started {
		return // whatever it was, the file is there
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errOver) {
		l.uploadFailed(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, announced := range l.uploads {
		if !announced { // one that is, can be gone on with over another channel
			l.broken = time.Now()
		}
	}
}

// filming takes the peer's camera until its track ends.
func (l *life) filming(pc *webrtc.PeerConnection, t *webrtc.TrackRemote, codec string) {
	refresh := ingest.Refresh(pc, t)
	c := l.camera
	c.mu.Lock()
	if c.refresh != nil { // a second track: there is one camera
		c.mu.Unlock()
		return
	}
	c.refresh = func() { _ = refresh() } // lost like any packet: it is asked for again
	c.mu.Unlock()
	first := true
	err := ingest.Read(l.ctx, t, refresh, func(u ingest.Unit) {
		l.sign()
		if first {
			first = false
			l.tell(func() { l.cameraCame(codec) })
		}
		c.give(l.ctx, link.AccessUnit{Codec: codecOf(codec), Keyframe: u.Keyframe, PTS: u.PTS, Captured: u.Captured, Data: u.Data})
	})
	if err != nil && l.ctx.Err() == nil {
		l.log.Info("the peer's camera ended", "err", err)
	}
	c.end()
}
