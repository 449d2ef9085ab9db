package rtcworker

import (
	"errors"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/outbound"
	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

const (
	// picturesAhead is how many pictures of a session that is not realtime may wait
	// for its track to send them.
	picturesAhead = 8
	// channelPause is how long the end of a channel waits to be judged: what ends the
	// connection ends its channels a little earlier.
	channelPause = time.Second
)

// connect notes that the peer is connected, and begins with a source that is known.
func (l *life) nowConnected(peer string) {
	if !l.connected.IsZero() || l.finished != nil {
		return
	}
	l.connected = time.Now()
	if l.channels {
		l.hope = l.connected.Add(channelTime)
	}
	l.sign()
	l.s.metrics.connected(l.connected.Sub(l.began))
	l.log.Info("session connected", "peer", peer, "after", l.connected.Sub(l.began).Round(time.Millisecond))
	l.show(func(i *Info) {
		if i.Peer = peer; !l.started { // the first picture may have come before the news
			i.State = StateWaiting
		}
	})
	if l.req.source != SourceUnknown {
		l.start(l.req.source, l.req.url, false)
	}
}

// cameraCame begins with the peer's camera, unless there is another source.
func (l *life) cameraCame(codec string) {
	if l.started || l.finished != nil {
		return
	}
	l.start(SourceTrack, "peer:"+codec, true)
}

// fileCame begins with an upload that is complete, unless there is another source.
func (l *life) fileCame(id, path string) {
	if l.started || l.finished != nil {
		return
	}
	l.broken = time.Time{}
	l.log.Info("upload complete", "upload", id)
	l.start(SourceUpload, path, true)
}

// start has the worker started on a source; confine: one that reaches no network.
func (l *life) start(kind, url string, confine bool) {
	l.started = true
	if kind != SourceTrack {
		l.camera.stop()
	}
	title := "" // of messages; of an address what may be told of it
	if kind == SourceUpload {
		title = "the file"
	}
	l.choose()
	l.granted = l.credit.limit()
	g := l.graph
	start := link.Start{
		Camera: "session " + l.id[:8], Mode: "session", Source: link.Source{URL: url}, Title: title, Confine: confine,
		Model: g.Model, Threshold: g.Threshold, Classes: g.Classes,
		Session: &link.Session{
			Realtime: l.req.realtime, DeclaredFPS: l.req.declaredFPS, IoU: g.IoU, NoModel: g.NoModel, Tracker: g.Tracker,
			Outputs: g.Outputs, Select: l.selection, Credit: link.Credit{Through: l.granted}, Video: l.codec,
			Gzip: l.s.c.Gzip, JPEGQuality: l.s.c.JPEGQuality,
		},
	}
	l.show(func(i *Info) { i.State, i.Source = StateRunning, kind })
	l.do(func() { l.attend(start) })
}

// attend starts the worker and waits for its end. It runs on a goroutine of its own.
func (l *life) attend(start link.Start) {
	if prepare := l.s.d.Prepare; prepare != nil {
		if err := prepare(&start); err != nil {
			l.tell(func() { l.unspawned(err) })
			return
		}
	}
	proc, err := l.s.d.Spawn(l.ctx, start, l.report)
	if err != nil {
		l.tell(func() { l.unspawned(err) })
		return
	}
	l.mu.Lock()
	l.proc = proc
	over := l.ending // takeDown has looked for it already
	l.mu.Unlock()
	if over {
		proc.Kill()
	}
	l.tell(func() { l.running(proc) })
	exit := proc.Wait()
	l.mu.Lock()
	l.proc = nil
	l.mu.Unlock()
	l.tell(func() { l.exited(exit) })
}

// running gives a worker what has come about since its start was written.
func (l *life) running(proc Process) {
	if l.finished != nil {
		proc.Kill()
		return
	}
	l.live = true
	l.camera.start(proc)
	proc.Select(l.selection)
	l.grant()
}

func (l *life) unspawned(err error) {
	var f link.Fault
	if errors.As(err, &f) {
		l.failed(f)
		return
	}
	l.end(reasonWorker, "The analysis could not be started: "+printable(err.Error()))
}

// failed ends the session for what the worker said of its end.
func (l *life) failed(f link.Fault) {
	switch f.Kind {
	case link.FaultModel, link.FaultOutput, link.FaultInternal:
		l.end(reasonWorker, f.Message)
	default:
		l.end(reasonSource, f.Message)
	}
}

// exited judges the end of the worker's process.
func (l *life) exited(exit link.Exit) {
	l.live = false
	switch {
	case l.finished != nil:
	case exit.Fault != nil:
		l.failed(*exit.Fault)
	case exit.Err != nil:
		words := "The analysis ended by itself: " + printable(exit.Err.Error())
		if last := link.LastWord(exit.Stderr); last != "" {
			words += " (" + printable(last) + ")"
		}
		l.end(reasonWorker, words)
	default:
		l.end(reasonWorker, "The analysis ended before its source did.")
	}
}

// report takes the worker's reports, on the goroutine that reads them: what it waits for holds up the
// worker and nothing else.
func (l *life) report(m link.Message) {
	switch v := m.Value.(type) {
	case link.Result:
		l.sign()
		l.lastResult.Store(max(l.lastResult.Load(), v.Frame))
		l.sender.put(l.ctx, v)
		nudge(l.moved)
	case link.AccessUnit:
		l.sign()
		l.picture(v)
	case link.Beat:
		ledger := v.Ledger
		l.ledger.Store(&ledger)
		l.camera.beat()
		nudge(l.moved)
	case link.Status:
		l.tell(func() { l.status(v) })
	case link.Fault:
		l.tell(func() { l.failed(v) })
	case link.Done:
		l.tell(func() { l.end(reasonDone, "") })
	case nil:
		if m.Kind == link.KindRefresh {
			l.camera.again()
		}
	}
}

// picture gives an encoded picture to the peer's track.
func (l *life) picture(u link.AccessUnit) {
	if l.track == nil || u.Codec != l.codec {
		return
	}
	l.pictures.Add(1)
	for !l.req.realtime {
		if n, _ := l.track.Queued(); n < picturesAhead {
			break
		}
		select {
		case <-l.track.Progress():
		case <-time.After(channelPause): // the track may have ended, and says nothing then
		case <-l.ctx.Done():
			return
		}
	}
	// The track asks for the keyframe itself that is needed after one was left out.
	if err := l.track.Write(ticks(u.PTS), u.Keyframe, u.Data); errors.Is(err, outbound.ErrFull) || errors.Is(err, outbound.ErrSkipped) {
		l.video.Dropped(1)
	}
}

// ticks is a time on RTP's clock for video, 90 kHz (RFC 3551 section 5), to the nearest, modulo 2^32.
func ticks(d time.Duration) uint32 {
	const rate = 90_000
	whole, part := uint64(d/time.Second), uint64(d%time.Second)
	return uint32(whole*rate + (part*rate+uint64(time.Second)/2)/uint64(time.Second))
}

// status tells the peer that its source gives nothing and is tried again.
func (l *life) status(s link.Status) {
	reason := ""
	if s.State != link.Playing {
		reason = s.Reason
	}
	l.show(func(i *Info) { i.Reason = reason })
	if s.State != link.Offline || s.Reason == l.offline {
		if s.State == link.Playing {
			l.offline = ""
		}
		return
	}
	l.offline = s.Reason
	l.sender.tell(noticeOf("The source gives no frames and is tried again: " + s.Reason))
}

// codecOf is a codec as the link has it.
func codecOf(name string) link.Codec {
	switch name {
	case packet.CodecH264:
		return link.H264
	case packet.CodecVP8:
		return link.VP8
	}
	return 0
}

// grant tells the worker how far it may go on.
func (l *life) grant() {
	c := &l.credit
	c.written, c.waiting = l.sender.written.Load(), l.sender.waiting()
	if ledger := l.ledger.Load(); ledger != nil {
		c.handled = ledger.Inferred + ledger.Failed
	}
	limit := c.limit()
	// It waits where it has said all that it may.
	if exhausted := l.lastResult.Load() >= limit; exhausted != l.exhausted {
		if l.exhausted = exhausted; exhausted {
			l.s.metrics.waits.Add(1)
		}
	}
	if limit == l.granted || !l.live {
		return
	}
	l.granted = limit
	l.mu.Lock()
	proc := l.proc
	l.mu.Unlock()
	if proc != nil {
		proc.Credit(link.Credit{Through: limit})
	}
}

// choose tells the worker what is to be sent.
func (l *life) choose() {
	s, err := l.graph.Choose(l.stream, l.data, l.track != nil)
	if err != nil {
		return // it was checked before it was asked for
	}
	s.NoDocuments = !l.read()
	l.selection = s
	var out sink
	if len(l.outlets) > 0 {
		out = l.outlets[0]
	}
	l.sender.use(out, s.NoDocuments)
	l.credit.unread = s.NoDocuments
	if !l.live {
		return
	}
	l.mu.Lock()
	proc := l.proc
	l.mu.Unlock()
	if proc != nil {
		proc.Select(s)
	}
	l.grant()
}

// read tells whether somebody reads documents, or may be about to.
func (l *life) read() bool {
	return len(l.outlets) > 0 || l.channels && l.connected.IsZero() || time.Now().Before(l.hope)
}
