package plan

// GivenCaps describes, in caps as text, the encoded pictures of a codec that are
// handed over one by one: each whole, and nothing else with it. ok is false for a
// codec that pictures cannot be given in.
//
// H.264 comes in Annex B with its parameter sets in front of keyframes; to say that
// a unit is whole (alignment=au) is what keeps a decoder from waiting for the next
// one to see where this one ends.
func GivenCaps(codec string) (caps string, ok bool) {
	switch codec {
	case "h264":
		return "video/x-h264,stream-format=(string)byte-stream,alignment=(string)au,parsed=(boolean)true", true
	case "vp8":
		return "video/x-vp8", true
	case "jpeg":
		return "image/jpeg,parsed=(boolean)true", true
	}
	return "", false
}
