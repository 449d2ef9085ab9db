package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Codecs of the tracks.
const (
	H264 = "h264"
	VP8  = "vp8"
	// Any receives whichever of both the box prefers.
	Any = "any"
)

// WorkerOptions say what a Worker offers and how it behaves.
type WorkerOptions struct {
	// HTTP makes the request with the offer; nil: http.DefaultClient.
	HTTP *http.Client
	// Header is sent with it.
	Header http.Header
	// Path of the request; empty: /initialise_webrtc_worker.
	Path string
	// Label of the inference channel; empty: "inference". NoInference makes none.
	Label       string
	NoInference bool
	// Upload makes the video_upload channel; so does Request.VideoFileUpload.
	Upload bool
	// Send is the codec of a track that is sent (H264, VP8); empty: none is.
	Send string
	// Receive is the codec of the track that is asked for (H264, VP8, Any); empty: none.
	Receive string
	// Apart makes two sections of a sent and a received track; else they share one.
	Apart bool
	// OnUnit gets every complete picture of the received track, from one goroutine;
	// Data is its own.
	OnUnit func(Unit)
	// DecodeMost leaves documents longer than so many bytes undecoded
	// (Document.Skimmed): for those who only count. 0: all are decoded.
	DecodeMost int
	// ReceiveBuffer is SCTP's window, bytes: what the box may send ahead of Next. 0: 1 MiB.
	ReceiveBuffer uint32
	// Tune changes the settings; nil: none.
	Tune func(*webrtc.SettingEngine)
}

// Worker is a session of the worker protocol, from the client's side. Its methods
// may be called from any goroutine, unless they say otherwise.
type Worker struct {
	// Context is the answer's, Answer its SDP, and Took the time from the request
	// to the answer. They do not change.
	Context map[string]json.RawMessage
	Answer  string
	Took    time.Duration

	o         WorkerOptions
	pc        *webrtc.PeerConnection
	socket    *socket
	closeMux  func() error
	inference *slot
	upload    *slot
	sender    *sender // nil: no track is sent
	documents chan *Document
	readErr   error // why documents was closed
	done      chan struct{}
	connected chan struct{}
	lost      chan struct{}
	work      sync.WaitGroup
	close     sync.Once
	closeErr  error

	mu     sync.Mutex
	closed bool
	stats  Stats
	change chan struct{} // closed and replaced whenever stats change
}

// slot is a channel of the session that opens when the connection stands.
type slot struct {
	open chan struct{} // closed when ch and err are set
	ch   *Channel
	err  error
}

// Initialise opens a session at the box ("http://HOST:PORT"): it returns once the
// answer is taken, before the connection stands (Connected). ctx is for the request
// alone; Close or Break ends the session. A box that serves the request not returns a
// *Refused.
func Initialise(ctx context.Context, box string, r Request, o WorkerOptions) (*Worker, error) {
	where, err := url.Parse(box)
	if err != nil {
		return nil, fmt.Errorf("the box's address: %w", err)
	}
	w := &Worker{o: o, documents: make(chan *Document), done: make(chan struct{}),
		connected: make(chan struct{}), lost: make(chan struct{}), change: make(chan struct{})}
	if err := w.prepare(where, r.VideoFileUpload || o.Upload); err != nil {
		return nil, errors.Join(err, w.shut())
	}
	if err := w.negotiate(ctx, where, r); err != nil {
		return nil, errors.Join(err, w.shut())
	}
	return w, nil
}

// prepare makes the connection with its channels and tracks.
func (w *Worker) prepare(box *url.URL, upload bool) (err error) {
	host := box.Host
	if box.Port() == "" {
		host += ":80" // no packet goes there; it only chooses the interface
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	if w.socket, err = newSocket(host); err != nil {
		return fmt.Errorf("bind a port: %w", err)
	}
	mux := w.socket.mux(quiet)
	w.closeMux = mux.Close
	var settings webrtc.SettingEngine
	settings.LoggerFactory = quiet
	settings.DetachDataChannels()
	settings.SetICEUDPMux(mux)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	if w.o.ReceiveBuffer > 0 {
		settings.SetSCTPMaxReceiveBufferSize(w.o.ReceiveBuffer)
	}
	if w.o.Tune != nil {
		w.o.Tune(&settings)
	}
	engine, registry, err := mediaEngine(w.o)
	if err != nil {
		return err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry))
	if w.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return fmt.Errorf("new connection: %w", err)
	}
	w.pc.OnConnectionStateChange(w.stateChanged)
	w.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if w.begin() {
			defer w.work.Done()
			w.watch(t)
		}
	})
	if !w.o.NoInference {
		label := w.o.Label
		if label == "" {
			label = "inference"
		}
		if w.inference, err = w.channel(label); err != nil {
			return err
		}
	}
	if upload {
		if w.upload, err = w.channel("video_upload"); err != nil {
			return err
		}
	}
	w.work.Add(1)
	go w.read()
	return w.addTracks()
}

func mediaEngine(o WorkerOptions) (*webrtc.MediaEngine, *interceptor.Registry, error) {
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	for _, c := range []string{H264, VP8} {
		if o.Send != c && o.Receive != c && o.Receive != Any {
			continue
		}
		if err := engine.RegisterCodec(parameters(c), webrtc.RTPCodecTypeVideo); err != nil {
			return nil, nil, fmt.Errorf("register %s: %w", c, err)
		}
	}
	if err := errors.Join(webrtc.ConfigureNack(engine, registry), webrtc.ConfigureRTCPReports(registry)); err != nil {
		return nil, nil, fmt.Errorf("register interceptors: %w", err)
	}
	return engine, registry, nil
}

func (w *Worker) stateChanged(s webrtc.PeerConnectionState) {
	w.update(func(st *Stats) {
		st.State = s
		switch s {
		case webrtc.PeerConnectionStateConnected:
			if st.Connected.IsZero() {
				st.Connected = time.Now()
				close(w.connected)
			}
		case webrtc.PeerConnectionStateDisconnected:
			st.Disconnects++
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			if st.Lost.IsZero() {
				st.Lost = time.Now()
				close(w.lost)
			}
		}
	})
}

// channel makes a data channel that is there once the connection stands.
func (w *Worker) channel(label string) (*slot, error) {
	dc, err := w.pc.CreateDataChannel(label, nil)
	if err != nil {
		return nil, fmt.Errorf("create channel %s: %w", label, err)
	}
	s := &slot{open: make(chan struct{})}
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		s.ch, s.err = &Channel{ReadWriteCloser: raw, dc: dc, low: lowWater(dc), lost: w.lost}, err
		close(s.open)
	})
	return s, nil
}

func (w *Worker) negotiate(ctx context.Context, box *url.URL, r Request) error {
	offer, err := w.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create the offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("take our own offer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	body, err := r.body(w.pc.LocalDescription().SDP)
	if err != nil {
		return err
	}
	answer, err := w.post(ctx, box, body)
	if err != nil {
		return err
	}
	if err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	w.Answer = answer
	return nil
}

func (w *Worker) post(ctx context.Context, box *url.URL, body []byte) (sdp string, err error) {
	path := w.o.Path
	if path == "" {
		path = "/initialise_webrtc_worker"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, box.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for k, v := range w.o.Header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	h := w.o.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	began := time.Now()
	res, err := h.Do(req)
	if err != nil {
		return "", fmt.Errorf("open a session: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	w.Took = time.Since(began)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", refused(res.StatusCode, res.Header.Get("Retry-After"), raw)
	}
	var a struct {
		Status, SDP, Type string
		Context           map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return "", fmt.Errorf("%w: the answer: %w", ErrProtocol, err)
	}
	if a.Status != "success" || a.Type != "answer" {
		return "", fmt.Errorf("%w: the answer has status %q and type %q", ErrProtocol, a.Status, a.Type)
	}
	w.Context = a.Context
	return a.SDP, nil
}

// Connected returns once the connection stands.
func (w *Worker) Connected(ctx context.Context) error {
	select {
	case <-w.connected:
		return nil
	default:
	}
	select {
	case <-w.connected:
		return nil
	case <-w.lost:
		return ErrLost
	case <-ctx.Done():
		return fmt.Errorf("connect: %w", ctx.Err())
	}
}

// ErrLost is the end of a connection on which something was still to come.
var ErrLost = errors.New("the connection was lost")

// Lost is closed when the connection has ended, whoever ended it.
func (w *Worker) Lost() <-chan struct{} { return w.lost }

// Close ends the session as a client does that says so.
func (w *Worker) Close() error { return w.shut() }

// Break vanishes: from now on not one packet goes out, and nothing of the
// connection is left on this side. The box is not told.
func (w *Worker) Break() error {
	w.socket.muted.Store(true)
	return w.shut()
}

// Mute has not one packet go out from now on, but keeps this side as it is.
func (w *Worker) Mute() { w.socket.muted.Store(true) }

// shut ends the connection and everything that was started for it.
func (w *Worker) shut() error {
	w.close.Do(func() {
		close(w.done)
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		if w.pc != nil {
			w.closeErr = w.pc.GracefulClose()
		}
		if w.closeMux != nil {
			w.closeErr = errors.Join(w.closeErr, w.closeMux())
		}
		w.work.Wait()
	})
	return w.closeErr
}

// begin enters a goroutine of the session, unless it is closed.
func (w *Worker) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.work.Add(1)
	}
	return !w.closed
}
