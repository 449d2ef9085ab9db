package live

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/watchpost/watchpost/appliance/internal/live/packet"
)

const (
	// maxOffer is the largest SDP taken, in bytes: Chromium's with every codec
	// it knows has 8 KiB.
	maxOffer = 64 << 10
	// maxSections and maxCandidates bound what one viewer may have us handle.
	maxSections   = 16
	maxCandidates = 64
)

// offer is what is taken from a viewer's SDP, all of it checked. Nothing else of
// the viewer's text reaches the WebRTC stack: it is given an offer composed of
// these fields.
type offer struct {
	codec       Codec
	payloadType uint8
	fmtp        string   // of the codec, as offered
	others      []format // a publisher's further ones that can be taken, best first
	ice         iceParameters
	fingerprint string // "sha-256 AA:BB…"
	setup       string // actpass or active
	lite        bool
	trickle     bool
	publishes   bool   // the peer sends the video; else it is sent to it
	ssrc        uint32 // of its stream; 0: it does not say
	arrivals    uint8  // id of the header extension for arrival reports; 0: it has none
	video       int    // index of the section that is answered
	data        int    // that of data channels; -1: none was offered
	sections    []section
}

// iceParameters are one side's of an ICE session.
type iceParameters struct {
	ufrag, pwd string
	candidates []string // "candidate:…"
}

// A section of data channels, RFC 8841.
const (
	dataProtos = "UDP/DTLS/SCTP"
	dataFormat = "webrtc-datachannel"
)

// section is a media section of the offer, as it is needed to refuse it.
type section struct {
	media, mid, formats string
	protos              string
}

// Tokens of RFC 4566 and ice-chars of RFC 8839.
var (
	midPattern         = regexp.MustCompile(`^[!#-'*+\-.0-9A-Z^-~]{1,64}$`)
	ufragPattern       = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{4,256}$`)
	pwdPattern         = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{22,256}$`)
	fingerprintPattern = regexp.MustCompile(`^(?i:sha-(224|256|384|512)) [0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){27,63}$`)
	candidatePattern   = regexp.MustCompile(`^candidate:[\x21-\x7e]{1,32} [\x20-\x7e]{1,400}$`)
	wordPattern        = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)
)

// parseOffer checks a viewer's or a publisher's offer and takes from it what is needed.
func parseOffer(body []byte, publishes bool) (*offer, *problem) {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return nil, badSDP("it does not parse: %v", err)
	}
	if n := len(d.MediaDescriptions); n == 0 || n > maxSections {
		return nil, badSDP("it has %d media sections, 1 to %d can be served", n, maxSections)
	}
	o := &offer{publishes: publishes, video: -1, data: -1}
	var p *problem
	for i, m := range d.MediaDescriptions {
		s, p := parseSection(m)
		if p != nil {
			return nil, p
		}
		if slices.ContainsFunc(o.sections, func(t section) bool { return t.mid == s.mid }) {
			return nil, badSDP("two media sections have the a=mid %q", s.mid)
		}
		o.sections = append(o.sections, s)
		if s.media == "video" && o.video < 0 {
			o.video = i
		}
		if !publishes && s.media == "application" && s.protos == dataProtos && s.formats == dataFormat && o.data < 0 {
			o.data = i
		}
	}
	if o.video < 0 {
		return nil, badSDP("it has no video section; cameras have video and nothing else")
	}
	video := d.MediaDescriptions[o.video]
	if p = o.parseTransport(&d, video); p != nil {
		return nil, p
	}
	if p = o.chooseCodec(video); p != nil {
		return nil, p
	}
	if publishes {
		o.takeStream(video)
	}
	return o, nil
}

func parseSection(m *sdp.MediaDescription) (s section, p *problem) {
	s.media, s.formats = m.MediaName.Media, strings.Join(m.MediaName.Formats, " ")
	s.protos = strings.Join(m.MediaName.Protos, "/")
	s.mid, _ = m.Attribute("mid")
	if !midPattern.MatchString(s.mid) {
		return s, badSDP("the %.20q section has no valid a=mid", s.media)
	}
	if !wordPattern.MatchString(s.media) || !wordPattern.MatchString(s.protos) {
		return s, badSDP("the m= line of section %q is not valid", s.mid)
	}
	return s, nil
}

// parseTransport takes direction, ICE and DTLS of the video section; where a
// section is silent, the session's attributes count (RFC 8839, RFC 8122).
func (o *offer) parseTransport(d *sdp.SessionDescription, video *sdp.MediaDescription) *problem {
	attribute := func(key string) string {
		if v, ok := video.Attribute(key); ok {
			return strings.TrimSpace(v)
		}
		v, _ := d.Attribute(key)
		return strings.TrimSpace(v)
	}
	if s := o.sections[o.video]; s.protos != "UDP/TLS/RTP/SAVPF" && s.protos != "TCP/TLS/RTP/SAVPF" {
		return badSDP("the video section's protocol is %q, it has to be UDP/TLS/RTP/SAVPF", s.protos)
	}
	wrong, right := "sendonly", "a player's has to be recvonly or sendrecv"
	if o.publishes {
		wrong, right = "recvonly", "a publisher's has to be sendonly or sendrecv"
	}
	for _, direction := range []string{wrong, "inactive"} {
		if _, ok := video.Attribute(direction); ok {
			return badSDP("the video section is %s, %s", direction, right)
		}
	}
	if _, ok := video.Attribute("rtcp-mux"); !ok {
		return badSDP("the video section has no a=rtcp-mux")
	}
	o.ice.ufrag, o.ice.pwd = attribute("ice-ufrag"), attribute("ice-pwd")
	if !ufragPattern.MatchString(o.ice.ufrag) {
		return badSDP("the video section has no valid a=ice-ufrag")
	}
	if !pwdPattern.MatchString(o.ice.pwd) {
		return badSDP("the video section has no valid a=ice-pwd")
	}
	if o.fingerprint = attribute("fingerprint"); !fingerprintPattern.MatchString(o.fingerprint) {
		return badSDP("the video section has no valid a=fingerprint of SHA-2")
	}
	switch o.setup = attribute("setup"); o.setup {
	case "actpass", "active":
	default:
		return badSDP("a=setup:%.20s: an offer has to say actpass or active", o.setup)
	}
	_, o.lite = d.Attribute("ice-lite")
	options := attribute("ice-options")
	o.trickle = slices.Contains(strings.Fields(options), "trickle")
	for _, m := range d.MediaDescriptions {
		for _, a := range m.Attributes {
			c := "candidate:" + a.Value
			if a.Key == "candidate" && candidatePattern.MatchString(c) && len(o.ice.candidates) < maxCandidates {
				o.ice.candidates = append(o.ice.candidates, c)
			}
		}
	}
	return nil
}

// format is one payload type of the offer.
type format struct {
	payloadType uint8
	name, fmtp  string
	codec       Codec
	rank        int
}

// maxOthers bounds the payload types that a publisher is offered to choose from.
const maxOthers = 8

// chooseCodec takes the peer's best H.264, or else its VP8. A publisher has the choice of
// all that can be taken: some offer what their source is not.
func (o *offer) chooseCodec(video *sdp.MediaDescription) *problem {
	var fit []format
	var names []string
	for _, f := range formats(video) {
		names = append(names, f.name)
		if f.codec, f.rank = rankFormat(f); f.rank > 0 {
			fit = append(fit, f)
		}
	}
	slices.SortStableFunc(fit, func(a, b format) int { return b.rank - a.rank })
	if len(fit) > 0 {
		o.codec, o.payloadType, o.fmtp = fit[0].codec, fit[0].payloadType, fit[0].fmtp
		if o.publishes {
			o.others = fit[1:min(len(fit), 1+maxOthers)]
		}
		return nil
	}
	slices.Sort(names)
	return &problem{Status: http.StatusNotAcceptable, Title: "No common codec",
		Detail: fmt.Sprintf("The offer's video codecs are %.200q; video is sent and taken as H.264 (packetization-mode=1) or VP8. "+
			"Use a browser, or an encoder, with one of them.", strings.Join(slices.Compact(names), ", "))}
}

// takeStream notes what a publisher says of its one stream. The first of an
// ssrc-group is the video, the others repair it (RFC 5576 section 4.2).
func (o *offer) takeStream(video *sdp.MediaDescription) {
	for _, a := range video.Attributes {
		switch a.Key {
		case "ssrc", "ssrc-group":
			f := strings.Fields(a.Value)
			if a.Key == "ssrc-group" && len(f) > 0 {
				f = f[1:]
			}
			if len(f) == 0 || o.ssrc != 0 {
				continue
			}
			if n, err := strconv.ParseUint(f[0], 10, 32); err == nil {
				o.ssrc = uint32(n)
			}
		case "extmap":
			f := strings.Fields(a.Value)
			if len(f) < 2 || f[1] != sdp.TransportCCURI {
				continue
			}
			id, _, _ := strings.Cut(f[0], "/")
			if n, err := strconv.ParseUint(id, 10, 8); err == nil && n >= 1 && n <= 14 { // RFC 8285: one-byte headers
				o.arrivals = uint8(n)
			}
		}
	}
}

// rankFormat says how well a payload type can be served; 0: not at all.
func rankFormat(f format) (Codec, int) {
	switch codec, rank := packet.Rank(f.name, f.fmtp); codec {
	case packet.CodecH264:
		return H264, rank
	case packet.CodecVP8:
		return VP8, rank
	}
	return 0, 0
}

// formats lists a section's payload types with their rtpmap and fmtp. Several of
// equal rank are taken in the viewer's order.
func formats(m *sdp.MediaDescription) []format {
	var list []format
	for _, f := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil || pt >= 64 && pt <= 95 { // RTCP is told apart by these, RFC 5761
			continue
		}
		if slices.ContainsFunc(list, func(x format) bool { return x.payloadType == uint8(pt) }) {
			continue
		}
		x := format{payloadType: uint8(pt)}
		for _, a := range m.Attributes {
			id, value, _ := strings.Cut(a.Value, " ")
			if id != f {
				continue
			}
			switch a.Key {
			case "rtpmap":
				x.name, _, _ = strings.Cut(strings.TrimSpace(value), "/")
			case "fmtp":
				x.fmtp = strings.TrimSpace(value)
			}
		}
		if x.name != "" && (x.fmtp == "" || wordPattern.MatchString(strings.ReplaceAll(x.fmtp, " ", ""))) {
			list = append(list, x)
		}
	}
	return list
}

func badSDP(format string, args ...any) *problem {
	return &problem{Status: http.StatusBadRequest, Title: "The SDP offer cannot be used",
		Detail: "The SDP offer cannot be used: " + fmt.Sprintf(format, args...) + "."}
}
