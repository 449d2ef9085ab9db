// Package client speaks to a box over WebRTC, in both of its ways. Dial opens data
// channels to push a file with the resume extension and to follow a job's results.
// Initialise opens a session of the worker protocol: documents and video of what the
// box sees in a file, a stream or the client's own pictures. It is what tests and
// measurements use, and shows what a client has to do.
//
// It decodes and encodes no video: pictures go out and come in encoded.
package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// Peer is a connection to a box.
type Peer struct {
	pc   *webrtc.PeerConnection
	lost chan struct{}
	once sync.Once
}

// Options of a connection.
type Options struct {
	// HTTP makes the request with the offer; nil: http.DefaultClient.
	HTTP *http.Client
	// Loopback offers loopback addresses, for a box on this machine.
	Loopback bool
	// Tune changes the settings; nil: none.
	Tune func(*webrtc.SettingEngine)
}

// Dial connects to the box at base ("http://HOST:PORT") and opens a channel.
func Dial(ctx context.Context, base, label string, o Options) (*Peer, *Channel, error) {
	var settings webrtc.SettingEngine
	settings.DetachDataChannels()
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIncludeLoopbackCandidate(o.Loopback)
	if o.Tune != nil {
		o.Tune(&settings)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, nil, err
	}
	p := &Peer{pc: pc, lost: make(chan struct{})}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			p.once.Do(func() { close(p.lost) })
		}
	})
	ch, err := p.connect(ctx, base, label, o)
	if err != nil {
		return nil, nil, errors.Join(err, pc.Close())
	}
	return p, ch, nil
}

func (p *Peer) connect(ctx context.Context, base, label string, o Options) (*Channel, error) {
	opening, err := p.channel(label)
	if err != nil {
		return nil, err
	}
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/channel", bytes.NewBufferString(p.pc.LocalDescription().SDP))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/sdp")
	h := o.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	res, err := h.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("the box answers %s: %s", res.Status, bytes.TrimSpace(body))
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		return nil, err
	}
	return p.await(ctx, opening)
}

// Open opens another channel.
func (p *Peer) Open(ctx context.Context, label string) (*Channel, error) {
	opening, err := p.channel(label)
	if err != nil {
		return nil, err
	}
	return p.await(ctx, opening)
}

func (p *Peer) channel(label string) (<-chan opened, error) {
	dc, err := p.pc.CreateDataChannel(label, nil)
	if err != nil {
		return nil, err
	}
	done := make(chan opened, 1)
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		done <- opened{&Channel{ReadWriteCloser: raw, dc: dc, low: lowWater(dc), lost: p.lost}, err}
	})
	return done, nil
}

type opened struct {
	ch  *Channel
	err error
}

func (p *Peer) await(ctx context.Context, opening <-chan opened) (*Channel, error) {
	select {
	case o := <-opening:
		return o.ch, o.err
	case <-p.lost:
		return nil, errors.New("the connection was lost")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the connection.
func (p *Peer) Close() error { return p.pc.Close() }

// Channel is an open data channel. One goroutine reads, one writes.
type Channel struct {
	datachannel.ReadWriteCloser
	dc   *webrtc.DataChannel
	low  <-chan struct{}
	lost <-chan struct{}
}

// What may wait to be sent, bytes.
const (
	sendHigh = 1 << 20
	sendLow  = 512 << 10
)

func lowWater(dc *webrtc.DataChannel) <-chan struct{} {
	low := make(chan struct{}, 1)
	dc.SetBufferedAmountLowThreshold(sendLow)
	dc.OnBufferedAmountLow(func() {
		select {
		case low <- struct{}{}:
		default:
		}
	})
	return low
}

// Send sends one binary message, waiting while too much is waiting to be sent.
func (c *Channel) Send(ctx context.Context, p []byte) error {
	for c.dc.BufferedAmount() > sendHigh {
		select {
		case <-c.low:
		case <-time.After(20 * time.Millisecond):
		case <-c.lost:
			return errors.New("the connection was lost")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err := c.WriteDataChannel(p, false)
	return err
}

// SendText sends one text.
func (c *Channel) SendText(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.WriteDataChannel(data, true)
	return err
}

// Message is what the box says on the upload's or the results' channel; one field is set.
type Message struct {
	Upload *struct {
		ID        string
		Have      [][2]int64
		ChunkSize int64 `json:"chunk_size"`
		Status    string
	}
	Committed *struct {
		ID   string
		Have [][2]int64
	}
	Done   *Done
	Result json.RawMessage
	Part   *struct {
		Seq          uint64
		Index, Total int
		Data         []byte
	}
	End   *End
	Error *struct{ Message string }
}

// Done is the end of an upload.
type Done struct{ ID, Job, SHA256 string }

// End is the end of a job's results.
type End struct {
	Job, Status string
	Results     uint64
}

// Receive reads the box's next message; an Error of the box's is returned as error.
func (c *Channel) Receive(buf []byte) (Message, error) {
	var m Message
	n, _, err := c.ReadDataChannel(buf)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		return m, fmt.Errorf("the box says %q: %w", buf[:n], err)
	}
	if m.Error != nil {
		return m, fmt.Errorf("the box: %s", m.Error.Message)
	}
	return m, nil
}

// File is what Upload sends.
type File struct {
	io.ReaderAt
	Name   string
	Size   int64
	Chunk  int64  // bytes; 0: 48 KiB
	SHA256 string // hex; "": none is told
	// ID of an upload to go on with, or "".
	ID string
	// Known is told the upload's id and the ranges of chunks that are durable, as
	// they become so; nil: nobody.
	Known func(id string, have [][2]int64)
}

// Upload sends what of a file the box does not have and waits until the whole of it
// is safe there.
func (c *Channel) Upload(ctx context.Context, f File) (Done, error) {
	const usualChunk = 48 << 10
	if f.Chunk == 0 {
		f.Chunk = usualChunk
	}
	known := f.Known
	if known == nil {
		known = func(string, [][2]int64) {}
	}
	if err := c.SendText(map[string]any{"upload": map[string]any{
		"name": f.Name, "size": f.Size, "chunk_size": f.Chunk, "sha256": f.SHA256, "id": f.ID,
	}}); err != nil {
		return Done{}, err
	}
	buf := make([]byte, 64<<10)
	m, err := c.Receive(buf)
	if err != nil {
		return Done{}, err
	}
	if m.Upload == nil {
		return Done{}, errors.New("the box does not answer the announcement")
	}
	known(m.Upload.ID, m.Upload.Have)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- c.sendMissing(ctx, f, m.Upload.Have) }()
	done, err := c.finish(buf, known)
	if err != nil {
		// The sender ends by itself: with the channel, or with ctx.
		return Done{}, err
	}
	return done, <-sent
}

func (c *Channel) finish(buf []byte, known func(string, [][2]int64)) (Done, error) {
	for {
		m, err := c.Receive(buf)
		switch {
		case err != nil:
			return Done{}, err
		case m.Committed != nil:
			known(m.Committed.ID, m.Committed.Have)
		case m.Done != nil:
			return *m.Done, nil
		}
	}
}

// sendMissing sends the chunks that are in none of the ranges.
func (c *Channel) sendMissing(ctx context.Context, f File, have [][2]int64) error {
	total := (f.Size + f.Chunk - 1) / f.Chunk
	p := make([]byte, 8+f.Chunk)
	binary.LittleEndian.PutUint32(p[4:], uint32(total))
	for i := int64(0); i < total; i++ {
		if len(have) > 0 && i >= have[0][0] {
			i, have = have[0][1], have[1:]
			continue
		}
		n := min(f.Chunk, f.Size-i*f.Chunk)
		if _, err := f.ReadAt(p[8:8+n], i*f.Chunk); err != nil && !(errors.Is(err, io.EOF) && i == total-1) {
			return err
		}
		binary.LittleEndian.PutUint32(p, uint32(i))
		if err := c.Send(ctx, p[:8+n]); err != nil {
			return err
		}
	}
	return nil
}

// Results follows a job's results from one on until the job has ended.
func (c *Channel) Results(job string, from uint64, take func(line json.RawMessage) error) (End, error) {
	if err := c.SendText(map[string]any{"results": map[string]any{"job": job, "from": from}}); err != nil {
		return End{}, err
	}
	buf := make([]byte, 256<<10)
	var long []byte
	for {
		m, err := c.Receive(buf)
		if err == nil && m.Part != nil {
			if m.Part.Index == 0 {
				long = nil
			}
			if long = append(long, m.Part.Data...); m.Part.Index < m.Part.Total-1 {
				continue
			}
			m.Result = long
		}
		switch {
		case err != nil:
			return End{}, err
		case m.End != nil:
			return *m.End, nil
		case m.Result != nil:
			if err := take(m.Result); err != nil {
				return End{}, err
			}
		}
	}
}
