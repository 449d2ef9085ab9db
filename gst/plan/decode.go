package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// codecs gives for caps of encoded video the short name of the codec, a name for
// people, and the parser that brings it into any form a decoder may ask for.
var codecs = []struct{ caps, codec, human, parser string }{
	{"video/x-h264", "h264", "H.264", "h264parse"},
	{"video/x-h265", "h265", "H.265", "h265parse"},
	{"video/x-h266", "h266", "H.266", ""},
	{"video/x-gst-fourcc-vvc1", "h266", "H.266", ""},
	{"video/x-gst-fourcc-vvi1", "h266", "H.266", ""},
	{"video/x-vp8", "vp8", "VP8", ""},
	{"video/x-vp9", "vp9", "VP9", "vp9parse"},
	{"video/x-av1", "av1", "AV1", "av1parse"},
	{"video/x-h263", "h263", "H.263", "h263parse"},
	{"video/x-divx", "mpeg4", "MPEG-4", "mpeg4videoparse"},
	{"video/x-xvid", "mpeg4", "MPEG-4", "mpeg4videoparse"},
	{"video/x-msmpeg", "msmpeg4", "MS-MPEG-4", ""},
	{"video/x-wmv", "wmv", "Windows Media Video", ""},
	{"video/x-theora", "theora", "Theora", ""},
	{"video/x-flash-video", "flv1", "Sorenson Spark", ""},
	{"video/x-prores", "prores", "ProRes", ""},
	{"video/x-dv", "dv", "DV", ""},
	{"image/jpeg", "jpeg", "JPEG", "jpegparse"},
	{"image/png", "png", "PNG", ""},
	{"video/x-raw", "raw", "uncompressed", ""},
}

// Codec names the codec of caps ("video/x-h264, stream-format=…"): short ("h264"),
// for people ("H.264"), and its parser ("h264parse" or empty).
func Codec(caps string) (codec, human, parser string) {
	name, rest, _ := strings.Cut(caps, ",")
	name = strings.TrimSpace(name)
	if name == "video/mpeg" {
		switch v := field(rest, "mpegversion"); v {
		case "1", "2":
			return "mpeg" + v, "MPEG-" + v, "mpegvideoparse"
		case "4":
			return "mpeg4", "MPEG-4", "mpeg4videoparse"
		}
		return "mpeg", "MPEG", ""
	}
	for _, c := range codecs {
		if c.caps == name {
			return c.codec, c.human, c.parser
		}
	}
	short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "video/"), "image/"), "x-")
	short = strings.TrimPrefix(short, "gst-fourcc-")
	return short, short, ""
}

// field is the value of a field in caps in text, without its type.
func field(caps, name string) string {
	for part := range strings.SplitSeq(caps, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || key != name {
			continue
		}
		if i := strings.IndexByte(value, ')'); strings.HasPrefix(value, "(") && i > 0 {
			value = value[i+1:]
		}
		return strings.Trim(value, `" ;`)
	}
	return ""
}

// Orientation is what is done to a decoded picture to show it upright, named as
// GStreamer's image-orientation tag names it.
type Orientation string

// orientations maps the tag to videoflip's direction and to degrees clockwise.
var orientations = map[Orientation]struct {
	direction string
	degrees   int
}{
	"":                {"", 0},
	"rotate-0":        {"", 0},
	"rotate-90":       {"90r", 90},
	"rotate-180":      {"180", 180},
	"rotate-270":      {"90l", 270},
	"flip-rotate-0":   {"horiz", 0},
	"flip-rotate-90":  {"ur-ll", 90},
	"flip-rotate-180": {"vert", 180},
	"flip-rotate-270": {"ul-lr", 270},
}

// Degrees is how far the picture is turned, clockwise.
func (o Orientation) Degrees() int { return orientations[o].degrees }

// Mirrored tells whether it is mirrored left to right, before it is turned.
func (o Orientation) Mirrored() bool { return strings.HasPrefix(string(o), "flip-") }

// Known tells whether the tag is one that can be applied.
func (o Orientation) Known() bool { _, ok := orientations[o]; return ok }

// Decode says how units become frames.
type Decode struct {
	// Element is the decoder's factory; empty for raw video.
	Element string
	// Parser in front of it, where its input differs from what there is; may be empty.
	Parser string
	// Orientation to apply.
	Orientation Orientation
	// Live: no delay for the sake of throughput.
	Live bool
	// Threads for the decoder; 0: as it likes.
	Threads int
}

// Frames plans the pipeline from an appsrc "in" to a sink "out" that gets
// 8-bit I420 or NV12 in system memory.
func Frames(d Decode) Pipeline {
	var p Pipeline
	parts := []string{fmt.Sprintf("appsrc name=in format=time block=true max-buffers=%d max-bytes=0 max-time=0 is-live=%t", 4, d.Live)}
	if d.Parser != "" {
		parts = append(parts, d.Parser)
	}
	if d.Element != "" {
		parts = append(parts, d.Element+" name=dec")
		p.Props = append(p.Props, decoderProps(d)...)
	}
	// The converter hands frames through untouched where they fit already.
	parts = append(parts, "videoconvert name=conv")
	if dir := orientations[d.Orientation].direction; dir != "" {
		parts = append(parts, "videoflip video-direction="+dir)
	}
	parts = append(parts, `video/x-raw,format=(string){I420,NV12}`, "fakesink name=out sync=false async=false enable-last-sample=false")
	p.Launch = strings.Join(parts, " ! ")
	if d.Threads > 0 {
		p.Props = append(p.Props, Prop{Element: "conv", Name: "n-threads", Value: strconv.Itoa(d.Threads), Optional: true})
	}
	return p
}

// decoderProps sets a decoder's threads. libav's frame threads hold back one
// frame for each thread, which is a delay that a live picture must not have;
// its slice threads hold back none.
func decoderProps(d Decode) []Prop {
	set := func(name, value string) Prop {
		return Prop{Element: "dec", Name: name, Value: value, Optional: true}
	}
	n := strconv.Itoa(d.Threads)
	var props []Prop
	switch {
	case strings.HasPrefix(d.Element, "avdec_"):
		props = append(props, set("max-threads", n))
		if d.Live {
			props = append(props, set("thread-type", "slice"))
		} else {
			props = append(props, set("thread-type", "frame+slice"))
		}
	case d.Element == "vp8dec" || d.Element == "vp9dec":
		if d.Threads > 0 {
			props = append(props, set("threads", n))
		}
	case d.Element == "dav1ddec":
		props = append(props, set("n-threads", n))
		if d.Live {
			props = append(props, set("max-frame-delay", "1"))
		}
	}
	return props
}

// crashing are elements that are never used: GStreamer 1.22's avdec_mjpeg takes
// the whole process with it on ordinary JPEGs of a layout that it does not know.
var crashing = []string{"avdec_mjpeg"}

// Candidates orders the decoders of a codec: the ones named for it, else those
// that GStreamer ranks (best first), always without the refused ones and those
// that crash.
func Candidates(s Source, codec string, ranked []string) []string {
	list := s.Decoders[codec]
	if len(list) == 0 {
		list = ranked
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		if !slices.Contains(s.Refused, e) && !slices.Contains(crashing, e) && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
