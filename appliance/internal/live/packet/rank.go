package packet

import (
	"encoding/hex"
	"strings"
)

// The codecs by the names that they have everywhere in Watchpost.
const (
	CodecH264 = "h264"
	CodecVP8  = "vp8"
)

// Rank says which codec a payload type of an SDP is, by the encoding name of its
// a=rtpmap and the parameters of its a=fmtp, and how well a stream of this package fits
// it; 0: not at all.
//
// The stream is H.264 constrained baseline, which every profile's decoder plays.
// A peer that lists it gets it by its name; the others follow, nearest
// first. The level is not looked at: decoders in browsers play what comes.
func Rank(encoding, fmtp string) (codec string, rank int) {
	switch strings.ToUpper(encoding) {
	case "VP8":
		return CodecVP8, 1
	case "H264":
	default:
		return "", 0
	}
	mode, profile := "0", "420010" // defaults of RFC 6184 section 8.1
	for p := range strings.SplitSeq(fmtp, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(k) {
		case "packetization-mode":
			mode = v
		case "profile-level-id":
			profile = v
		}
	}
	id, err := hex.DecodeString(profile)
	if mode != "1" || err != nil || len(id) != 3 {
		return "", 0
	}
	const constraintSet1 = 0x40
	switch idc := id[0]; {
	case idc == 0x42 && id[1]&constraintSet1 != 0: // constrained baseline
		return CodecH264, 6
	case idc == 0x42: // baseline
		return CodecH264, 5
	case idc == 0x4d: // main
		return CodecH264, 4
	case idc == 0x64: // high
		return CodecH264, 3
	}
	return "", 0
}
