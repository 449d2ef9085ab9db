package ingest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

const (
	// clockRate of the RTP timestamps, Hz (RFC 6184 section 8.2.1, RFC 7741 section 6).
	clockRate = 90000
	// maxCodecs bounds what one offer may have registered.
	maxCodecs = 32
)

// feedback is what is sent back about a peer's video, and what it may send back about
// ours: it is intersected with what the peer knows.
func feedback() []webrtc.RTCPFeedback {
	return []webrtc.RTCPFeedback{
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
		{Type: "transport-cc"}, {Type: "goog-remb"},
	}
}

func codec(payloadType uint8, name, fmtp string) peer.Codec {
	mime := webrtc.MimeTypeH264
	if name == packet.CodecVP8 {
		mime = webrtc.MimeTypeVP8
	}
	return peer.Codec{Kind: webrtc.RTPCodecTypeVideo, RTPCodecParameters: webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(payloadType),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: clockRate, SDPFmtpLine: fmtp, RTCPFeedback: feedback(),
		},
	}}
}

// Codecs are those for a connection that makes the offer: VP8, and H.264 as browsers
// name it. To answer an offer, take [Offered].
func Codecs() []peer.Codec {
	list := []peer.Codec{codec(96, packet.CodecVP8, "")}
	for i, profile := range []string{"42e01f", "42001f", "4d001f", "640c1f"} {
		list = append(list, codec(uint8(102+2*i), packet.CodecH264,
			"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="+profile))
	}
	return list
}

// Offered are the codecs of an SDP offer's video sections that can be taken and sent, in
// the peer's order, with its payload types and parameters: whichever profile of H.264 a
// peer names, it is answered with the same (RFC 6184 section 8.2.2). The error says what
// the offer has instead.
func Offered(offer string) ([]peer.Codec, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(offer); err != nil {
		return nil, fmt.Errorf("parse the SDP offer: %w", err)
	}
	var list []peer.Codec
	var names []string
	seen := map[uint8]bool{}
	videos := 0
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Media != "video" {
			continue
		}
		videos++
		for _, f := range m.MediaName.Formats {
			pt, err := strconv.ParseUint(f, 10, 7)
			if err != nil || pt >= 64 && pt <= 95 || seen[uint8(pt)] { // RTCP is told apart by these, RFC 5761
				continue
			}
			encoding, fmtp := describe(m, f)
			if encoding != "" && len(names) < maxCodecs {
				names = append(names, encoding)
			}
			if name, rank := packet.Rank(encoding, fmtp); rank > 0 && len(list) < maxCodecs {
				seen[uint8(pt)] = true
				list = append(list, codec(uint8(pt), name, fmtp))
			}
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case videos == 0:
		return nil, fmt.Errorf("the offer has no video section")
	}
	return nil, fmt.Errorf("the offer's video codecs are %.200q; taken are VP8, and H.264 with packetization-mode=1", strings.Join(names, ", "))
}

// describe finds the encoding name and the parameters of a payload type.
func describe(m *sdp.MediaDescription, format string) (encoding, fmtp string) {
	for _, a := range m.Attributes {
		id, value, _ := strings.Cut(a.Value, " ")
		if id != format {
			continue
		}
		switch a.Key {
		case "rtpmap":
			encoding, _, _ = strings.Cut(strings.TrimSpace(value), "/")
		case "fmtp":
			fmtp = strings.TrimSpace(value)
		}
	}
	return encoding, fmtp
}
