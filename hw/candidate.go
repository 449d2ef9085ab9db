package hw

import (
	"path"
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

// family is the elements of one kind for one codec, the plain name first.
type family struct {
	kind Kind
	// name is the first device's element, and stands for the family in reports when
	// there is none of it.
	name string
	// more are further fixed names. perDevice is how GStreamer names the element of
	// every other device, %s being the end of its node's path ("v4l2sl%sh264dec").
	more      []string
	perDevice string
}

// names lists all names that an element of the family can have on a box with these
// device nodes.
func (f family) names(nodes func(pattern string) []string) []string {
	list := append([]string{f.name}, f.more...)
	if f.perDevice != "" {
		for _, node := range nodes(f.kind.nodes()) {
			list = append(list, strings.ReplaceAll(f.perDevice, "%s", path.Base(node)))
		}
	}
	return list
}

// hardware is the families of one codec's hardware elements; suffix is "dec" or "enc".
func hardware(codec, suffix string, extra ...family) []family {
	tail := codec + suffix
	list := []family{}
	if suffix == "dec" {
		list = append(list, family{kind: Stateless, name: "v4l2sl" + tail, perDevice: "v4l2sl%s" + tail})
	}
	list = append(list, family{kind: Stateful, name: "v4l2" + tail, perDevice: "v4l2%s" + tail})
	list = append(list, extra...)
	nv := family{kind: NVIDIA, name: "nv" + tail, more: []string{"nv" + codec + "device1" + suffix}}
	if suffix == "dec" {
		nv.more = append(nv.more, "nv"+codec+"sl"+suffix)
	}
	return append(list,
		family{kind: VA, name: "va" + tail, perDevice: "va%s" + tail},
		family{kind: VAAPI, name: "vaapi" + tail},
		nv,
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
		// avdec_mjpeg is left out: it crashes on ordinary JPEGs, and gst/plan never
		// decodes with it.
		"jpeg": append(hardware("jpeg", "dec", family{kind: MPP, name: "mppjpegdec"}), software("jpegdec")...),
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
// best first, and what is not there, refused with the reason. has tells whether there
// is an element of that name, nodes lists the device nodes that match a pattern.
func candidates(has func(element string) bool, nodes func(pattern string) []string) (there []Candidate, missing []Element) {
	for _, role := range []Role{Decode, Encode} {
		for _, codec := range codecOrder {
			for _, f := range table(role)[codec] {
				found := false
				for _, name := range f.names(nodes) {
					if has(name) {
						found = true
						there = append(there, Candidate{role, codec, name, f.kind})
					}
				}
				if !found {
					missing = append(missing, Element{
						Candidate: Candidate{role, codec, f.name, f.kind},
						Reason:    absence(f.kind, codec, nodes),
					})
				}
			}
		}
	}
	return there, missing
}

func table(role Role) map[string][]family {
	if role == Encode {
		return encoders()
	}
	return decoders()
}

// absence says why there is no element of a kind for a codec: GStreamer registers
// hardware elements only for devices that it finds.
func absence(k Kind, codec string, nodes func(string) []string) string {
	pattern := k.nodes()
	switch {
	case pattern == "":
		return "element not installed"
	case len(nodes(pattern)) == 0:
		return "no device (" + pattern + ")"
	}
	return "not offered by any device (" + pattern + ") for " + codec + ", or its plugin is not installed"
}
