package live

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/peer"
)

func mimeType(c Codec) string {
	if c == VP8 {
		return webrtc.MimeTypeVP8
	}
	return webrtc.MimeTypeH264
}

// feedback is what viewers may send back. Retransmissions go out in the stream
// itself: with RTX they would need a sequence of their own for each viewer.
var feedback = [...]webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}

// feedbackOf is what goes back about the video: to a publisher also what it judges the
// bandwidth by.
func (o *offer) feedbackOf() []webrtc.RTCPFeedback {
	if !o.publishes {
		return feedback[:]
	}
	return append(feedback[:len(feedback):len(feedback)], webrtc.RTCPFeedback{Type: "transport-cc"}, webrtc.RTCPFeedback{Type: "goog-remb"})
}

// taken are the payload types that this peer's connection knows, with the peer's own
// numbers and parameters, best first: one for a viewer.
func (o *offer) taken() []format {
	return append([]format{{payloadType: o.payloadType, fmtp: o.fmtp, codec: o.codec}}, o.others...)
}

// peerCodecs are the same as a connection is given them.
func (o *offer) peerCodecs() (list []peer.Codec) {
	for _, f := range o.taken() {
		list = append(list, peer.Codec{Kind: webrtc.RTPCodecTypeVideo, RTPCodecParameters: webrtc.RTPCodecParameters{
			PayloadType: webrtc.PayloadType(f.payloadType),
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: mimeType(f.codec), ClockRate: clockRate, SDPFmtpLine: f.fmtp, RTCPFeedback: o.feedbackOf(),
			},
		}})
	}
	return list
}

// compose writes the offer that the WebRTC stack is given: the video section,
// and that of data channels if there is one, with the ICE parameters of this
// generation.
func (o *offer) compose(ice iceParameters, generation int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	mid := o.sections[o.video].mid
	line("v=0")
	line("o=- 1 %d IN IP4 127.0.0.1", generation)
	line("s=-")
	line("t=0 0")
	if o.data >= 0 {
		line("a=group:BUNDLE %s %s", mid, o.sections[o.data].mid)
	} else {
		line("a=group:BUNDLE %s", mid)
	}
	if o.lite {
		line("a=ice-lite")
	}
	numbers := ""
	for _, f := range o.taken() {
		numbers += " " + strconv.Itoa(int(f.payloadType))
	}
	line("m=video 9 UDP/TLS/RTP/SAVPF%s", numbers)
	transport := func(mid string) {
		line("c=IN IP4 0.0.0.0")
		line("a=ice-ufrag:%s", ice.ufrag)
		line("a=ice-pwd:%s", ice.pwd)
		if o.trickle {
			line("a=ice-options:trickle")
		}
		line("a=fingerprint:%s", o.fingerprint)
		line("a=setup:%s", o.setup)
		line("a=mid:%s", mid)
	}
	transport(mid)
	if o.publishes {
		line("a=sendonly")
		line("a=msid:publisher video")
		if o.ssrc != 0 {
			line("a=ssrc:%d cname:publisher", o.ssrc)
		}
		if o.arrivals != 0 {
			line("a=extmap:%d %s", o.arrivals, sdp.TransportCCURI)
		}
	} else {
		line("a=recvonly")
	}
	line("a=rtcp-mux")
	for _, f := range o.taken() {
		line("a=rtpmap:%d %s/%d", f.payloadType, strings.TrimPrefix(mimeType(f.codec), "video/"), clockRate)
		if f.fmtp != "" {
			line("a=fmtp:%d %s", f.payloadType, f.fmtp)
		}
		for _, fb := range o.feedbackOf() {
			line("a=rtcp-fb:%d %s", f.payloadType, strings.TrimSpace(fb.Type+" "+fb.Parameter))
		}
	}
	if o.data >= 0 {
		line("m=application 9 %s %s", dataProtos, dataFormat)
		transport(o.sections[o.data].mid)
		line("a=sctp-port:5000")
	}
	return b.String()
}

// complete puts the refused sections beside those that the WebRTC stack
// answered, in the order of the viewer's offer (RFC 3264 section 6).
func (o *offer) complete(answer string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("parse own answer: %w", err)
	}
	want := 1
	if o.data >= 0 {
		want = 2
	}
	answered := d.MediaDescriptions
	if len(answered) != want {
		return "", fmt.Errorf("own answer has %d media sections, want %d", len(answered), want)
	}
	for _, m := range answered {
		// With rtcp-mux there is no second component, though pion lists it.
		m.Attributes = slices.DeleteFunc(m.Attributes, secondComponent)
	}
	d.Attributes = append(d.Attributes, sdp.NewAttribute("ice-options", "trickle"))
	d.MediaDescriptions = nil
	for i, s := range o.sections {
		switch i {
		case o.video:
			d.MediaDescriptions = append(d.MediaDescriptions, answered[0])
			continue
		case o.data:
			d.MediaDescriptions = append(d.MediaDescriptions, answered[1])
			continue
		}
		formats := strings.Fields(s.formats)
		if s.media == "audio" || s.media == "video" {
			formats = []string{"0"} // has no meaning here, and needs no rtpmap
		}
		d.MediaDescriptions = append(d.MediaDescriptions, &sdp.MediaDescription{
			MediaName: sdp.MediaName{Media: s.media, Protos: strings.Split(s.protos, "/"), Formats: formats},
			// Firefox wants a connection line in refused sections too.
			ConnectionInformation: &sdp.ConnectionInformation{
				NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"}},
			Attributes: []sdp.Attribute{sdp.NewAttribute("mid", s.mid), sdp.NewPropertyAttribute("inactive")},
		})
	}
	text, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("write answer: %w", err)
	}
	return string(text), nil
}

// secondComponent tells whether an attribute is a candidate for RTCP alone.
func secondComponent(a sdp.Attribute) bool {
	f := strings.Fields(a.Value)
	return a.Key == "candidate" && len(f) > 1 && f[1] == "2"
}

// localICE takes the ICE parameters out of our description.
func localICE(description string) (p iceParameters, mid string, err error) {
	var d sdp.SessionDescription
	if err = d.UnmarshalString(description); err != nil {
		return p, "", fmt.Errorf("parse own description: %w", err)
	}
	// One transport for all sections: the first one tells all.
	for _, m := range d.MediaDescriptions[:min(1, len(d.MediaDescriptions))] {
		for _, a := range m.Attributes {
			switch a.Key {
			case "ice-ufrag":
				p.ufrag = a.Value
			case "ice-pwd":
				p.pwd = a.Value
			case "mid":
				mid = a.Value
			case "candidate":
				if !secondComponent(a) {
					p.candidates = append(p.candidates, "candidate:"+a.Value)
				}
			}
		}
	}
	return p, mid, nil
}
