package live

import (
	"errors"
	"fmt"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

// session is a WHEP session: one viewer's peer connection.
type session struct {
	transport
	stream  *Stream
	viewer  *viewer
	reading sync.WaitGroup // the RTCP goroutine
}

// newSession answers an offer. The session is not yet known to the server or
// the stream.
func newSession(s *Server, st *Stream, o *offer) (ses *session, answer string, err error) {
	pc, err := s.peers.Peer(peer.Options{
		Codecs: o.peerCodecs(),
		Tune:   func(e *webrtc.SettingEngine) { e.SetSCTPMaxReceiveBufferSize(channelMemory) },
	})
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pc.Close())
		}
	}()
	id := hexID()
	ses = &session{
		transport: transport{id: id, pc: pc, offer: o, remote: o.ice, generation: 1, etag: quotedTag(), log: st.log.With("viewer", id[:8])},
		stream:    st, viewer: newViewer(st.rendition(o.codec), st.id),
	}
	if o.data >= 0 {
		ses.takeChannels()
	}
	ses.viewer.report = func(p rtcp.Packet) error { return pc.WriteRTCP([]rtcp.Packet{p}) }
	transceiver, err := pc.AddTransceiverFromTrack(ses.viewer,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, "", fmt.Errorf("add track: %w", err)
	}
	local, err := ses.negotiate()
	if err != nil {
		return nil, "", err
	}
	if answer, err = o.complete(local); err != nil {
		return nil, "", err
	}
	ses.trickle(o.ice.candidates)
	ses.reading.Go(func() {
		ses.viewer.listen(transceiver.Sender(), s.peers.Burst, func() { st.askKeyframe(o.codec) })
	})
	return ses, answer, nil
}

// close frees what the session holds and waits for its goroutine.
func (ses *session) close() {
	if ses.setup != nil {
		ses.setup.Stop()
	}
	if err := ses.pc.Close(); err != nil {
		ses.log.Debug("close connection", "error", err)
	}
	ses.reading.Wait()
	ses.dropChannels()
}
