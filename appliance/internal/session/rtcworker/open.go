package rtcworker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/ingest"
	"github.com/watchpost/watchpost/appliance/internal/live/outbound"
	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/gst/plan"
)

const (
	// gatherTime bounds the wait for our candidates. Those of the shared ports come at
	// once; STUN and TURN servers may take longer, or never answer.
	gatherTime = 2 * time.Second
	// receiveBuffer is SCTP's window, bytes: what a peer may have on its way while its
	// upload waits for the disk.
	receiveBuffer = 2 << 20
)

// open answers a request. The session does not run yet: admit or abandon it.
func (s *Server) open(ctx context.Context, body []byte) (_ *life, answer []byte, err error) {
	req, err := decode(body)
	if err != nil {
		return nil, nil, err
	}
	send := req.stream == nil || len(*req.stream) > 0
	o, err := parseOffer(req.sdp, send, req.source == SourceUnknown && !req.byUpload)
	if err != nil {
		return nil, nil, err
	}
	if err := o.suits(req); err != nil {
		return nil, nil, err
	}
	graph, err := s.d.Workflow(ctx, req.configuration)
	if err != nil {
		return nil, nil, err
	}
	selection, err := graph.Choose(req.stream, req.data, o.out >= 0)
	if err != nil {
		return nil, nil, err
	}
	l := s.newLife(req, o)
	answered := false
	defer func() {
		switch {
		case answered:
		case err != nil:
			l.abandon()
		default:
			// An offer made the WebRTC stack panic. It may hold locks for ever that
			// closing waits for: nobody else is to wait for it.
			go l.abandon()
		}
	}()
	l.graph, l.selection = graph, selection
	sdp, err := l.connect(o)
	if err != nil {
		return nil, nil, err
	}
	if answer, err = answerBody(l.id, sdp, graph.Notes); err != nil {
		return nil, nil, err
	}
	l.log.Info("session answered", "source", plan.Redact(req.url), "realtime", req.realtime, "video", o.video,
		"camera", o.in >= 0, "channels", o.channels, "model", graph.Model, "notes", graph.Notes)
	answered = true
	return l, answer, nil
}

// suits tells whether something can come of an offer: frames in, and something out.
func (o *offer) suits(req *request) error {
	const field = "webrtc_offer.sdp"
	switch {
	case req.source == SourceUnknown && o.in < 0 && !o.channels:
		return wrong(field, "a video section that sends, data channels, or an rtsp_url or mjpeg_url",
			"there is nowhere for frames to come from: the offer has no video that the client sends and no data channels, and no URL is named")
	case o.out < 0 && !o.channels:
		return wrong(field, "a video section that receives, or data channels",
			"there is nowhere for results to go: the offer takes no video (or stream_output is empty) and has no data channels")
	}
	return nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}

// newLife makes a session without its connection.
func (s *Server) newLife(req *request, o *offer) *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	id := newID()
	l := &life{
		id: id, began: time.Now(), s: s, log: s.d.Log.With("session", id[:8]), req: req,
		ctx: ctx, cancel: cancel, events: make(chan func(), maxEvents), moved: make(chan struct{}, 1), over: make(chan struct{}),
		camera: &camera{realtime: req.realtime}, uploads: map[string]bool{},
		channels: o.channels, stream: req.stream, data: req.data,
		credit: credit{realtime: req.realtime, window: uint64(s.c.Window)},
	}
	l.shown = Info{ID: id, Source: req.source, State: StateConnecting, Since: l.began}
	l.sender = newSender(req.realtime, s.c.Window, func() { l.sign(); nudge(l.moved) }, func(to sink) {
		l.tell(func() { l.closed(to) })
	})
	policy := queue.Block
	if req.realtime {
		policy = queue.DropNewest
	}
	l.sender.took = l.took
	l.sender.budget, l.camera.budget = s.budget, s.budget
	l.sender.meter = s.d.Queues.Register(documentsQueue, policy, l.sender.most, l.sender.waiting)
	l.camera.meter = s.d.Queues.Register(cameraQueue, queue.DropNewest, heldPictures, l.camera.waiting)
	events := s.d.Queues.Register(eventsQueue, queue.Block, maxEvents, func() int { return len(l.events) })
	l.queues = []*queue.Meter{l.sender.meter, l.camera.meter, events}
	return l
}

// servers are the STUN and TURN servers that a session may use.
func (l *life) servers() []webrtc.ICEServer {
	if l.s.c.Offline {
		if n := len(l.req.servers); n > 0 {
			l.log.Info("the client's STUN and TURN servers are not used: this box is offline (webrtc.offline)", "servers", n)
		}
		return nil
	}
	var list []webrtc.ICEServer
	for _, all := range [][]ICEServer{l.s.c.ICEServers, l.req.servers} {
		for _, i := range all {
			list = append(list, webrtc.ICEServer{URLs: i.URLs, Username: i.Username, Credential: i.Credential})
		}
	}
	return list
}

// connect makes the connection and answers the offer. It leaves it to the caller to take
// down what there is of it when it fails.
func (l *life) connect(o *offer) (answer string, err error) {
	options := peer.Options{Codecs: o.codecs, ICEServers: l.servers(), Tune: func(e *webrtc.SettingEngine) {
		e.DetachDataChannels()
		e.DisableMediaEngineCopy(false) // or sections with other codecs than the first are refused
		e.SetSCTPMaxReceiveBufferSize(receiveBuffer)
		e.SetSTUNGatherTimeout(gatherTime) // later nobody waits for it
	}}
	if o.in >= 0 {
		options.Intercept = ingest.Intercept
	}
	pc, err := l.s.d.Peers.Peer(options)
	if err != nil {
		return "", wrong("webrtc_config", "STUN and TURN servers", "the connection could not be made: %s", printable(err.Error()))
	}
	// What is left to ICE is noticed much later. Nothing may wait here.
	forget := l.s.d.Peers.Watch(pc, func() { l.do(func() { l.tell(l.lost) }) })
	l.conn = connection{pc, forget}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) { l.accept(pc, dc) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) { l.connection(pc, state) })
	// The stack closes a connection when its peer does, and tells that only at the end of
	// closing, for which it may wait for a TURN server.
	pc.SCTP().Transport().OnStateChange(func(state webrtc.DTLSTransportState) {
		if state == webrtc.DTLSTransportStateClosed {
			l.connection(pc, webrtc.PeerConnectionStateClosed)
		}
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) { l.film(pc, t, r) })
	if o.out >= 0 {
		if err := l.addTrack(pc, o); err != nil {
			return "", err
		}
	}
	return l.negotiate(pc, o)
}

// connection is closed when nothing of it is left, even where the stack is closing it
// already.
type connection struct {
	*webrtc.PeerConnection
	forget func() // its peer's address
}

func (c connection) Close() error {
	c.forget()
	return c.GracefulClose()
}

// addTrack makes our video track, and has it in the answer.
func (l *life) addTrack(pc *webrtc.PeerConnection, o *offer) error {
	codec := codecOf(o.video)
	track, err := outbound.New(o.video, "watchpost", func() {
		l.mu.Lock()
		proc := l.proc
		l.mu.Unlock()
		if proc != nil {
			proc.Keyframe(codec)
		}
	})
	if err != nil {
		return fmt.Errorf("make the video track: %w", err)
	}
	// The direction makes the stack put it into the section that was found for it: a local
	// "sendonly" goes with the first that only receives, "sendrecv" with one that does both.
	direction := webrtc.RTPTransceiverDirectionSendonly
	if o.outDirection == webrtc.RTPTransceiverDirectionSendrecv {
		direction = webrtc.RTPTransceiverDirectionSendrecv
	}
	transceiver, err := pc.AddTransceiverFromTrack(track.Local(), webrtc.RTPTransceiverInit{Direction: direction})
	if err != nil {
		return fmt.Errorf("add the video track: %w", err)
	}
	l.track, l.codec = track, codec
	l.video = l.s.d.Queues.Register(videoQueue, queue.DropNewest, outbound.QueueFrames, func() int { n, _ := track.Queued(); return n })
	l.queues = append(l.queues, l.video)
	l.shown.Video = o.video
	l.do(func() {
		if err := track.Run(l.ctx, transceiver.Sender(), l.s.d.Peers.Burst); err != nil {
			l.log.Debug("video track", "err", err)
		}
	})
	return nil
}

// negotiate takes the offer and makes the answer, with as many of our candidates as are
// known in time.
func (l *life) negotiate(pc *webrtc.PeerConnection, o *offer) (string, error) {
	const field, expected = "webrtc_offer.sdp", "the complete SDP offer of a WebRTC peer"
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}); err != nil {
		return "", wrong(field, expected, "it cannot be used: %s", printable(err.Error()))
	}
	local, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", wrong(field, expected, "it cannot be answered: %s", printable(err.Error()))
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(local); err != nil {
		return "", wrong(field, expected, "it cannot be answered: %s", printable(err.Error()))
	}
	limit := time.NewTimer(gatherTime)
	defer limit.Stop()
	select {
	case <-gathered:
	case <-limit.C:
		l.log.Info("answered without waiting for slow STUN or TURN servers", "waited", gatherTime)
	}
	answer, err := o.settle(pc.LocalDescription().SDP)
	if err != nil {
		return "", fmt.Errorf("write the answer: %w", err)
	}
	return answer, nil
}

// connection takes the connection's states, on any goroutine.
func (l *life) connection(pc *webrtc.PeerConnection, state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		address := ""
		if pair, err := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil && pair.Remote != nil {
			address = net.JoinHostPort(pair.Remote.Address, strconv.Itoa(int(pair.Remote.Port)))
		}
		l.tell(func() { l.nowConnected(address) })
	case webrtc.PeerConnectionStateFailed:
		l.tell(l.lost)
	case webrtc.PeerConnectionStateClosed:
		l.tell(func() { l.gone(reasonLeft, "The peer closed the connection.") })
	}
}

// gone ends a session whose peer is: nothing can be told to it any more.
func (l *life) gone(reason, words string) {
	if l.finished != nil {
		l.hangUp()
		return
	}
	l.end(reason, words)
}

// lost ends a session whose peer cannot be reached, or is silent for too long.
func (l *life) lost() { l.gone(reasonLost, "The connection to the peer was lost.") }

// film takes the peer's camera, on a goroutine of the WebRTC stack.
func (l *life) film(pc *webrtc.PeerConnection, t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	codec := ingest.Codec(t)
	if t.Kind() != webrtc.RTPCodecTypeVideo || l.req.source != SourceUnknown || l.req.byUpload ||
		codec != packet.CodecH264 && codec != packet.CodecVP8 {
		return
	}
	l.do(func() { ingest.Listen(l.ctx, r) })
	l.do(func() { l.filming(pc, t, codec) })
}
