package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"github.com/watchpost/watchpost/gst/plan"
)

// rtspCam is a real RTSP server on loopback that plays clips in a loop.
type rtspCam struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	addr   string

	user, password string // asked for, if set
	noTCP, noUDP   bool   // refuse to set up that transport
	deafUDP        bool   // what is sent over UDP gets lost
	missing        bool   // 404
	// lost tells which of a unit's packets get lost on the way; nil: none.
	lost func(unit, packet, packets int) bool

	mu       sync.Mutex
	units    [][]byte
	next     int
	sent     map[int]time.Time // unit → when it was sent last
	silent   atomic.Bool
	playing  atomic.Int32
	protocol gortsplib.Protocol
	stop     chan struct{}
	senders  sync.WaitGroup
}

// start starts the camera with a track and the clip that it plays, 30 units a
// second; with sound, there is an audio track too, before the video.
func (c *rtspCam) start(t *testing.T, track format.Format, clip [][]byte, sound bool, methods ...auth.VerifyMethod) {
	t.Helper()
	c.mu.Lock() // nobody is served before all is there
	c.units, c.sent, c.stop = clip, map[int]time.Time{}, make(chan struct{})
	var err error
	for range 20 { // a pair of UDP ports may be taken meanwhile
		rtpPort := freePair(t)
		c.server = &gortsplib.Server{
			Handler: c, RTSPAddress: "127.0.0.1:0", AuthMethods: methods,
			UDPRTPAddress:  fmt.Sprintf("127.0.0.1:%d", rtpPort),
			UDPRTCPAddress: fmt.Sprintf("127.0.0.1:%d", rtpPort+1),
			Listen: func(network, address string) (net.Listener, error) {
				l, err := net.Listen(network, address)
				if err == nil {
					c.addr = l.Addr().String()
				}
				return l, err
			},
		}
		if err = c.server.Start(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	video := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{track}}
	medias := []*description.Media{video}
	var audio *description.Media
	if sound {
		audio = &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}}}
		medias = []*description.Media{audio, video}
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Medias: medias}}
	if err := c.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	c.mu.Unlock()
	c.senders.Go(func() { c.send(video, audio, packer(t, track)) })
	t.Cleanup(c.close)
}

func (c *rtspCam) close() {
	select {
	case <-c.stop:
		return
	default:
	}
	close(c.stop)
	c.senders.Wait()
	c.stream.Close()
	c.server.Close()
	_ = c.server.Wait()
}

func (c *rtspCam) url(credentials string) string { return "rtsp://" + credentials + c.addr + "/live" }

// change has the camera go on with another clip.
func (c *rtspCam) change(clip [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.units, c.next = clip, 0
}

func (c *rtspCam) over() gortsplib.Protocol {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.protocol
}

func (c *rtspCam) sentAt(unit int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[unit]
}

func (c *rtspCam) send(video, audio *description.Media, pack func([]byte) ([]*rtp.Packet, error)) {
	begun := time.Now()
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for n := uint16(0); ; n++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		if c.playing.Load() == 0 || c.silent.Load() {
			continue
		}
		c.mu.Lock()
		if c.deafUDP && c.protocol == gortsplib.ProtocolUDP {
			c.mu.Unlock()
			continue
		}
		i := c.next
		unit := c.units[i]
		c.next = (i + 1) % len(c.units)
		packets, err := pack(unit)
		c.sent[i] = time.Now()
		c.mu.Unlock()
		if err != nil {
			continue
		}
		for n, p := range packets {
			if c.lost != nil && c.lost(i, n, len(packets)) {
				continue
			}
			p.Timestamp = uint32(time.Since(begun) * 90000 / time.Second)
			_ = c.stream.WritePacketRTP(video, p)
		}
		if audio != nil {
			_ = c.stream.WritePacketRTP(audio, &rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: 0, SequenceNumber: n, Timestamp: uint32(n) * 266, SSRC: 7},
				Payload: make([]byte, 266),
			})
		}
	}
}

// packer splits units of a track into packets.
func packer(t *testing.T, track format.Format) func([]byte) ([]*rtp.Packet, error) {
	t.Helper()
	var nals func([][]byte) ([]*rtp.Packet, error)
	switch f := track.(type) {
	case *format.H264:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		nals = e.Encode
	case *format.H265:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		nals = e.Encode
	case *format.MJPEG:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		return e.Encode
	}
	return func(unit []byte) ([]*rtp.Packet, error) {
		var list h264.AnnexB // H.265 is put together the same way
		if err := list.Unmarshal(unit); err != nil {
			return nil, err
		}
		return nals(list)
	}
}

func (c *rtspCam) admit(conn *gortsplib.ServerConn, req *base.Request) (*base.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing {
		return &base.Response{StatusCode: base.StatusNotFound}, errors.New("no such stream")
	}
	if c.user == "" || conn.VerifyCredentials(req, c.user, c.password) {
		return nil, nil
	}
	return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
}

// OnDescribe, OnSetup and OnPlay are what gortsplib calls.
func (c *rtspCam) OnDescribe(x *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := c.admit(x.Conn, x.Request); err != nil {
		return res, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *rtspCam) OnSetup(x *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if res, err := c.admit(x.Conn, x.Request); err != nil {
		return res, nil, err
	}
	if udp := x.Transport.Protocol == gortsplib.ProtocolUDP; udp && c.noUDP || !udp && c.noTCP {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	c.mu.Lock()
	c.protocol = x.Transport.Protocol
	c.mu.Unlock()
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *rtspCam) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	c.mu.Lock()
	c.next = 0
	c.mu.Unlock()
	c.playing.Add(1)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// freePair is an even UDP port that was free with the one after it.
func freePair(t *testing.T) int {
	t.Helper()
	for range 100 {
		a, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		_ = a.Close()
		if port%2 != 0 {
			continue
		}
		if b, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port+1)); err == nil {
			_ = b.Close()
			return port
		}
	}
	t.Fatal("no pair of free UDP ports")
	return 0
}

// made runs a pipeline and returns the buffers that came out of it.
func made(t *testing.T, launch string, need ...string) [][]byte {
	t.Helper()
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range need {
		if !HasElement(e) {
			t.Skipf("%s is not installed", e)
		}
	}
	dir := t.TempDir()
	p, err := build(plan.Pipeline{Launch: launch + " ! multifilesink name=files", Props: []plan.Prop{{Element: "files", Name: "location", Value: dir + "/%05d"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	_ = p.play()
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		if m, ok := p.pop(); ok && m.kind == msgEOS {
			break
		} else if ok && m.kind == msgError {
			t.Fatal(m.text, m.debug)
		}
	}
	names, _ := filepath.Glob(dir + "/*")
	var out [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// levels is H.264 of uniform frames, each brighter than the one before, so that
// a picture says which unit it is of.
func levels(t *testing.T, w, h, n int) [][]byte {
	t.Helper()
	var units [][]byte
	x, err := NewEncoder(plan.Encode{Codec: "h264", Width: w, Height: h, GOP: n, Live: true}, func(u Unit) { units = append(units, u.Data) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := NewFrame(plan.I420, w, h)
		if err != nil {
			t.Fatal(err)
		}
		for p := range f.Planes {
			v := byte(128)
			if p == 0 {
				v = byte(30 + 12*i)
			}
			for j := range f.Planes[p] {
				f.Planes[p][j] = v
			}
		}
		f.PTS = time.Duration(i) * time.Second / 30
		if err := x.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return units
}

// level is which of the frames of levels a picture is.
func level(f *Frame) int {
	mean := meanLuma(f)
	return int((mean-30)/12 + 0.5)
}

func h264Track(t *testing.T, clip [][]byte) *format.H264 {
	t.Helper()
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	var nals h264.AnnexB
	if err := nals.Unmarshal(clip[0]); err != nil {
		t.Fatal(err)
	}
	for _, n := range nals {
		switch h264.NALUType(n[0] & 0x1f) {
		case h264.NALUTypeSPS:
			f.SPS = n
		case h264.NALUTypePPS:
			f.PPS = n
		}
	}
	return f
}
