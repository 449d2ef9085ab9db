package rtcworker

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/ingest"
	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

// Bounds of an offer.
const (
	maxSDP        = 256 << 10 // bytes
	maxSections   = 16
	maxCandidates = 64
)

// offer is what an SDP offer decides.
type offer struct {
	// sdp is the text, without candidates beyond what is tried.
	sdp    string
	codecs []peer.Codec
	// out is the section over which the peer takes our track, in the one with its
	// camera; -1: there is none. They may be the same.
	out, in int
	// outDirection is what the peer offered there; video the codec that is sent.
	outDirection webrtc.RTPTransceiverDirection
	video        string
	// channels: the peer has data channels.
	channels bool
}

// parseOffer reads an offer, for a session that sends video or not, and takes the
// peer's camera or not.
func parseOffer(text string, send, take bool) (*offer, error) {
	const field, expected = "webrtc_offer.sdp", "an SDP offer with video sections, data channels, or both"
	if len(text) > maxSDP {
		return nil, wrong(field, expected, "%d bytes, an offer has at most %d", len(text), maxSDP)
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, wrong(field, expected, "it does not parse: %s", printable(err.Error()))
	}
	if n := len(d.MediaDescriptions); n == 0 || n > maxSections {
		return nil, wrong(field, expected, "it has %d media sections, 1 to %d can be served", n, maxSections)
	}
	o := &offer{sdp: text, out: -1, in: -1}
	usable := false // some video section is
	for i, m := range d.MediaDescriptions {
		if _, only := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !only {
			continue // it is refused by who offers it
		}
		switch m.MediaName.Media {
		case "application":
			o.channels = true
		case "video":
			direction := directionOf(&d, m)
			out := send && o.out < 0 && (direction == webrtc.RTPTransceiverDirectionSendrecv || direction == webrtc.RTPTransceiverDirectionRecvonly)
			in := take && o.in < 0 && (direction == webrtc.RTPTransceiverDirectionSendrecv || direction == webrtc.RTPTransceiverDirectionSendonly)
			kind, err := bestCodec(m)
			if err != nil && (out || in) {
				return nil, err
			}
			// Sections of no use are answered too, as inactive: there are clients that
			// cannot take a refusal of one.
			usable = usable || err == nil
			if out {
				o.out, o.outDirection, o.video = i, direction, kind
			}
			if in {
				o.in = i
			}
		case "audio":
			o.takeAudio(m)
		}
	}
	if usable {
		if err := o.takeCodecs(); err != nil {
			return nil, err
		}
	}
	return o, o.limitCandidates(&d)
}

// takeAudio has the connection know a section's codecs, so that the section can be
// answered as inactive, like video of no use.
func (o *offer) takeAudio(m *sdp.MediaDescription) {
	const most = 32
	for _, a := range m.Attributes {
		format, value, _ := strings.Cut(a.Value, " ")
		pt, err := strconv.ParseUint(format, 10, 7)
		if a.Key != "rtpmap" || err != nil || len(o.codecs) >= most {
			continue
		}
		f := strings.Split(strings.TrimSpace(value)+"/0/0", "/")
		rate, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil || rate == 0 || slices.ContainsFunc(o.codecs, func(c peer.Codec) bool { return c.PayloadType == webrtc.PayloadType(pt) }) {
			continue
		}
		channels, _ := strconv.ParseUint(f[2], 10, 8) // none: 0, which stands for one
		o.codecs = append(o.codecs, peer.Codec{Kind: webrtc.RTPCodecTypeAudio, RTPCodecParameters: webrtc.RTPCodecParameters{
			PayloadType: webrtc.PayloadType(pt),
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: "audio/" + f[0], ClockRate: uint32(rate), Channels: uint16(channels),
			},
		}})
	}
}

// directionOf is a section's direction, which the session's stands in for, and else
// is sendrecv (RFC 8866 section 6.7).
func directionOf(d *sdp.SessionDescription, m *sdp.MediaDescription) webrtc.RTPTransceiverDirection {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, d.Attributes} {
		for _, a := range attributes {
			if direction := webrtc.NewRTPTransceiverDirection(a.Key); direction.String() == a.Key {
				return direction
			}
		}
	}
	return webrtc.RTPTransceiverDirectionSendrecv
}

// bestCodec is the codec of a section that is served best: H.264, which boxes decode
// and encode in hardware, before VP8.
func bestCodec(m *sdp.MediaDescription) (string, error) {
	var names []string
	vp8 := false
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		format, value, _ := strings.Cut(a.Value, " ")
		encoding, _, _ := strings.Cut(strings.TrimSpace(value), "/")
		names = append(names, encoding)
		fmtp := ""
		for _, b := range m.Attributes {
			if f, v, _ := strings.Cut(b.Value, " "); b.Key == "fmtp" && f == format {
				fmtp = strings.TrimSpace(v)
			}
		}
		switch codec, rank := packet.Rank(encoding, fmtp); {
		case rank == 0:
		case codec == packet.CodecH264:
			return codec, nil
		default:
			vp8 = true
		}
	}
	if vp8 {
		return packet.CodecVP8, nil
	}
	slices.Sort(names)
	return "", &refusal{
		status: http.StatusUnprocessableEntity, field: "webrtc_offer.sdp",
		message:   "webrtc_offer.sdp: the offer's video codecs are " + printable(strings.Join(slices.Compact(names), ", ")) + "; none of them can be served",
		expected:  "H264 with packetization-mode=1, or VP8, among the codecs of a video section",
		available: []string{"H264", "VP8"},
	}
}

// takeCodecs has the connection know the codecs that can be served, with the peer's own
// payload types and parameters. Of a camera both are taken: there are peers that offer
// more than they send.
func (o *offer) takeCodecs() error {
	all, err := ingest.Offered(o.sdp)
	if err != nil {
		return wrong("webrtc_offer.sdp", "H264 with packetization-mode=1, or VP8", "%s", printable(err.Error()))
	}
	o.codecs = append(o.codecs, all...)
	return nil
}

// limitCandidates takes candidates beyond maxCandidates out of the offer: each one has
// this box send checks to wherever it points.
func (o *offer) limitCandidates(d *sdp.SessionDescription) error {
	n := 0
	for _, m := range d.MediaDescriptions {
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			if a.Key != "candidate" {
				return false
			}
			n++
			return n > maxCandidates
		})
	}
	if n <= maxCandidates {
		return nil
	}
	text, err := d.Marshal()
	if err != nil {
		return wrong("webrtc_offer.sdp", "an SDP offer", "it cannot be shortened: %s", printable(err.Error()))
	}
	o.sdp = string(text)
	return nil
}

// settle gives the sections of our answer the directions that they have in truth:
// the WebRTC stack says "sendonly" of one over which nobody sends, and takes every camera.
func (o *offer) settle(answer string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", err
	}
	var candidates []sdp.Attribute // of sections that are refused
	var first *sdp.MediaDescription
	for i, m := range d.MediaDescriptions {
		refused := m.MediaName.Port.Value == 0
		if !refused && first == nil {
			first = m
		}
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			if a.Key != "candidate" && a.Key != "end-of-candidates" {
				return false
			}
			// With rtcp-mux there is no second component, though the stack lists it.
			f := strings.Fields(a.Value)
			second := len(f) > 1 && f[1] == "2"
			if refused && !second {
				candidates = append(candidates, a)
			}
			return refused || second
		})
		if !refused && (m.MediaName.Media == "video" || m.MediaName.Media == "audio") {
			o.direct(m, i)
		}
		if m.MediaName.Media == "video" {
			preferH264(m)
		}
	}
	if first != nil { // one transport for all: the peer looks for its candidates here
		first.Attributes = append(first.Attributes, candidates...)
	}
	text, err := d.Marshal()
	return string(text), err
}

// direct sets the direction of section i of our answer.
func (o *offer) direct(m *sdp.MediaDescription, i int) {
	direction := webrtc.RTPTransceiverDirectionInactive
	switch {
	case i == o.out && i == o.in:
		direction = webrtc.RTPTransceiverDirectionSendrecv
	case i == o.out:
		direction = webrtc.RTPTransceiverDirectionSendonly
	case i == o.in:
		direction = webrtc.RTPTransceiverDirectionRecvonly
	}
	for j, a := range m.Attributes {
		if webrtc.NewRTPTransceiverDirection(a.Key).String() == a.Key {
			m.Attributes[j] = sdp.NewPropertyAttribute(direction.String())
		}
	}
}

// preferH264 lists the payload types of H.264 first: peers send what is listed first.
func preferH264(m *sdp.MediaDescription) {
	h264 := map[string]bool{}
	for _, a := range m.Attributes {
		if format, value, _ := strings.Cut(a.Value, " "); a.Key == "rtpmap" && strings.HasPrefix(strings.ToUpper(value), "H264/") {
			h264[format] = true
		}
	}
	slices.SortStableFunc(m.MediaName.Formats, func(a, b string) int {
		switch {
		case h264[a] == h264[b]:
			return 0
		case h264[a]:
			return -1
		}
		return 1
	})
}
