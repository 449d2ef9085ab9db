package hw

import (
	"path"
	"slices"
	"strings"
)

// Role is what an element is a candidate for.
type Role string

// The roles.
const (
	Decode Role = "decode"
	Encode Role = "encode"
)

// Kind is how an element works, in words for people.
type Kind string

// The kinds, in the order in which they are tried: what uses least of the
// processor and copies least comes first.
const (
	Stateless Kind = "V4L2 stateless"
	Stateful  Kind = "V4L2 stateful"
	MPP       Kind = "Rockchip MPP"
	VA        Kind = "VA"
	VAAPI     Kind = "VA-API (old)"
	NVIDIA    Kind = "NVIDIA"
	Software  Kind = "software"
)

// Hardware tells whether an element of this kind uses a device.
func (k Kind) Hardware() bool { return k != Software }

// nodes are the device nodes without which nothing of a kind can work.
func (k Kind) nodes() string {
	switch k {
	case Stateless, Stateful:
		return "/dev/video*"
	case MPP:
		return "/dev/mpp_service"
	case VA, VAAPI:
		return "/dev/dri/renderD*"
	case NVIDIA:
		return "/dev/nvidia[0-9]*"
	}
	return ""
}

// Candidate is one element to be proven for one codec.
type Candidate struct {
	Role    Role   `json:"role"`
	Codec   string `json:"codec"`
	Element string `json:"element"`
	Kind    Kind   `json:"kind"`
}

// family is the elements of one kind for one codec. GStreamer adds the device to
// the name for every device but the first (v4l2slvideo3h264dec, varenderD129h264dec),
// so a family is a pattern; name stands for it in reports when there is none.
type family struct {
	kind    Kind
	name    string
	pattern string // path.Match; empty: name itself
	except  string // path.Match
}

// matches tells whether an element belongs to the family.
func (f family) matches(element string) bool {
	if f.pattern == "" {
		return element == f.name
	}
	if f.except != "" {
		if ok, _ := path.Match(f.except, element); ok {
			return false
		}
	}
	ok, _ := path.Match(f.pattern, element)
	return ok
}

// hardware is the families of one codec's hardware elements; suffix is "dec" or "enc".
func hardware(codec, suffix string, extra ...family) []family {
	tail := codec + suffix
	list := []family{}
	if suffix == "dec" {
		list = append(list, family{Stateless, "v4l2sl" + tail, "v4l2sl*" + tail, ""})
	}
	list = append(list, family{Stateful, "v4l2" + tail, "v4l2*" + tail, "v4l2sl*"})
	list = append(list, extra...)
	return append(list,
		family{VA, "va" + tail, "va*" + tail, "vaapi*"},
		family{VAAPI, "vaapi" + tail, "", ""},
		family{NVIDIA, "nv" + tail, "nv" + codec + "*" + suffix, ""},
	)
}

// software is families of one element each.
func software(names ...string) []family {
	var list []family
	for _, n := range names {
		list = append(list, family{kind: Software, name: n})
	}
	return list
}

// decoders by codec, best first. Of software decoders the faster comes first.
func decoders() map[string][]family {
	mpp := family{kind: MPP, name: "mppvideodec"}
	return map[string][]family{
		"h264":  append(hardware("h264", "dec", mpp), software("avdec_h264", "openh264dec")...),
		"h265":  append(hardware("h265", "dec", mpp), software("avdec_h265", "libde265dec")...),
		"vp8":   append(hardware("vp8", "dec", mpp), software("vp8dec", "avdec_vp8")...),
		"vp9":   append(hardware("vp9", "dec", mpp), software("avdec_vp9", "vp9dec")...),
		"av1":   append(hardware("av1", "dec"), software("dav1ddec", "av1dec", "avdec_av1")...),
		"mpeg2": append(hardware("mpeg2", "dec"), software("avdec_mpeg2video", "mpeg2dec")...),
		"mpeg4": append(hardware("mpeg4", "dec"), software("avdec_mpeg4")...),
		"jpeg": append(hardware("jpeg", "dec", family{kind: MPP, name: "mppjpegdec"}),
			software("jpegdec", "avdec_mjpeg")...),
	}
}

// encoders by codec, best first. openh264enc is as fast as x264enc, and its
// licence asks nothing of firmware that carries it.
func encoders() map[string][]family {
	return map[string][]family{
		"h264": append(hardware("h264", "enc", family{kind: MPP, name: "mpph264enc"}), software("openh264enc", "x264enc")...),
		"vp8":  append(hardware("vp8", "enc"), software("vp8enc")...),
	}
}

// codecOrder is the order of codecs in reports.
var codecOrder = [...]string{"h264", "h265", "vp8", "vp9", "av1", "mpeg2", "mpeg4", "jpeg"}

// candidates sets what is installed against the table: what is there to be proven,
// best first, and what is not there, refused with the reason. nodes tells whether
// a device node of that pattern exists.
func candidates(installed []string, nodes func(pattern string) bool) (there []Candidate, missing []Element) {
	for _, role := range []Role{Decode, Encode} {
		table := decoders()
		if role == Encode {
			table = encoders()
		}
		for _, codec := range codecOrder {
			for _, f := range table[codec] {
				names := slices.DeleteFunc(slices.Clone(installed), func(e string) bool { return !f.matches(e) })
				// The plain name is the first device's, and the shortest.
				slices.SortFunc(names, func(a, b string) int {
					if len(a) != len(b) {
						return len(a) - len(b)
					}
					return strings.Compare(a, b)
				})
				if len(names) == 0 {
					missing = append(missing, Element{
						Candidate: Candidate{role, codec, f.name, f.kind},
						Reason:    absence(f.kind, codec, nodes),
					})
				}
				for _, n := range slices.Compact(names) {
					there = append(there, Candidate{role, codec, n, f.kind})
				}
			}
		}
	}
	return there, missing
}

// absence says why there is no element of a kind for a codec: GStreamer registers
// hardware elements only for devices that it finds.
func absence(k Kind, codec string, nodes func(string) bool) string {
	pattern := k.nodes()
	switch {
	case pattern == "":
		return "element not installed"
	case !nodes(pattern):
		return "no device (" + pattern + ")"
	}
	return "not offered by any device (" + pattern + ") for " + codec + ", or its plugin is not installed"
}
