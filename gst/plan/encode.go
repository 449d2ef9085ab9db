package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Encode is a rendition to produce.
type Encode struct {
	// Codec is "h264" or "vp8".
	Codec string
	// Width and Height of the picture; odd sizes are rounded up to even ones.
	Width, Height int
	// FPSNum / FPSDen is the nominal frame rate, for rate control; timestamps
	// come from the frames. 0: 30.
	FPSNum, FPSDen int
	// Bitrate in bits a second; 0: chosen from size and rate.
	Bitrate int
	// GOP is the most frames between keyframes; 0: two seconds' worth.
	GOP int
	// Threads the encoder may use; 0: 1.
	Threads int
	// Elements are the factories to try, best first; empty: hardware, then software.
	Elements []string
	// Path of an MP4 to write; empty: units are handed out.
	Path string
	// Live: every frame comes out before the next goes in.
	Live bool
}

// EncoderOrder is the default order of encoders for a codec: hardware before
// software, and of the software ones the freely licensed before the GPL one.
func EncoderOrder(codec string) []string {
	switch codec {
	case "h264":
		return []string{"v4l2h264enc", "vah264enc", "vaapih264enc", "openh264enc", "x264enc"}
	case "vp8":
		return []string{"v4l2vp8enc", "vp8enc"}
	}
	return nil
}

// Even is the size that is encoded for w x h: 4:2:0 encoders take whole chroma
// samples, so odd sizes grow by one column or row that repeats the last one,
// and nothing is smaller than 16.
func Even(w, h int) (int, int) { return max(16, (w+1)&^1), max(16, (h+1)&^1) }

// Defaulted fills in what was left open.
func (e Encode) Defaulted() Encode {
	e.Width, e.Height = Even(e.Width, e.Height)
	if e.FPSNum <= 0 || e.FPSDen <= 0 {
		e.FPSNum, e.FPSDen = 30, 1
	}
	fps := max(1, float64(e.FPSNum)/float64(e.FPSDen))
	if e.GOP <= 0 {
		e.GOP = max(1, int(2*fps+0.5))
	}
	if e.Bitrate <= 0 {
		// 0.08 bits a pixel at 30 frames a second: 2.2 Mbit/s at 720p, 5 at
		// 1080p. The rate grows less than linearly with the frame rate, for
		// frames that follow faster differ less.
		perFrame := float64(e.Width*e.Height) * 0.08
		e.Bitrate = int(perFrame * 30 * min(1.6, max(0.4, 0.4+0.6*fps/30)))
		// Small pictures have more detail to the pixel.
		e.Bitrate = max(400_000, min(e.Bitrate, 20_000_000))
	}
	if e.Threads <= 0 {
		e.Threads = 1
	}
	if len(e.Elements) == 0 {
		e.Elements = EncoderOrder(e.Codec)
	}
	return e
}

// Encoder plans the pipeline for one encoder element: from an appsrc "in" of
// raw frames through the encoder "enc" to an appsink "out", or to the file. e
// must have been Defaulted.
func Encoder(element string, e Encode) (Pipeline, error) {
	if e.Codec != "h264" && e.Codec != "vp8" {
		return Pipeline{}, fmt.Errorf("unknown codec %q to encode to: want h264 or vp8", e.Codec)
	}
	if e.Path != "" && e.Codec != "h264" {
		return Pipeline{}, fmt.Errorf("an MP4 takes h264, not %s", e.Codec)
	}
	var p Pipeline
	set := func(name, value string) {
		p.Props = append(p.Props, Prop{Element: "enc", Name: name, Value: value, Optional: true})
	}
	num := strconv.Itoa
	switch {
	case element == "openh264enc":
		openh264(e, set)
	case element == "x264enc":
		x264(e, set)
	case element == "vp8enc":
		vp8(e, set)
	case strings.HasPrefix(element, "v4l2"):
		set("extra-controls", v4l2Controls(e))
	case slices.Contains([]string{"vah264enc", "vaapih264enc"}, element):
		set("bitrate", num(e.Bitrate/1000))
		set("rate-control", "cbr")
		set("key-int-max", num(e.GOP))
		set("keyframe-period", num(e.GOP))
		set("b-frames", "0")
		set("max-bframes", "0")
		set("target-usage", "7")
	}
	// The engine bounds what waits: a push that blocks in here could not be ended.
	parts := []string{
		fmt.Sprintf("appsrc name=in format=time max-buffers=0 max-bytes=0 max-time=0 is-live=%t", e.Live),
		"videoconvert name=conv",
		element + " name=enc",
	}
	if e.Codec == "h264" {
		profile := "constrained-baseline"
		if e.Path != "" && element != "openh264enc" {
			profile = "high" // a recording has no receiver to spare
		}
		parts = append(parts, "capsfilter name=profile caps=video/x-h264,profile="+profile,
			"h264parse config-interval=-1")
	}
	switch {
	case e.Path != "":
		parts = append(parts, "mp4mux name=mux faststart=true", "filesink name=file async=false")
		p.Props = append(p.Props,
			Prop{Element: "file", Name: "location", Value: e.Path},
			Prop{Element: "mux", Name: "faststart-file", Value: e.Path + ".faststart"})
	case e.Codec == "h264":
		parts = append(parts, "video/x-h264,stream-format=byte-stream,alignment=au", sink)
	default:
		parts = append(parts, sink)
	}
	p.Launch = strings.Join(parts, " ! ")
	return p, nil
}

const sink = "appsink name=out sync=false async=false enable-last-sample=false max-buffers=8"

func openh264(e Encode, set func(name, value string)) {
	set("usage-type", "camera")
	set("complexity", "low")
	set("rate-control", "bitrate")
	set("bitrate", strconv.Itoa(e.Bitrate))
	set("max-bitrate", strconv.Itoa(e.Bitrate*3/2))
	set("gop-size", strconv.Itoa(e.GOP))
	set("enable-frame-skip", "false")
	set("scene-change-detection", "false")
	set("background-detection", "false")
	set("adaptive-quantization", "false")
	set("qp-max", "40")
	set("multi-thread", strconv.Itoa(e.Threads))
	set("slice-mode", "n-slices")
	set("num-slices", strconv.Itoa(e.Threads))
}

func x264(e Encode, set func(name, value string)) {
	set("speed-preset", "superfast")
	if e.Live {
		set("tune", "zerolatency")
	}
	set("bitrate", strconv.Itoa(max(1, e.Bitrate/1000)))
	set("vbv-buf-capacity", "1000")
	set("key-int-max", strconv.Itoa(e.GOP))
	set("bframes", "0")
	set("threads", strconv.Itoa(e.Threads))
	set("sliced-threads", strconv.FormatBool(e.Live && e.Threads > 1))
	set("rc-lookahead", "0")
	set("sync-lookahead", "0")
	set("mb-tree", "false")
	set("byte-stream", "true")
}

func vp8(e Encode, set func(name, value string)) {
	set("deadline", "1")
	set("cpu-used", "10")
	set("end-usage", "cbr")
	set("target-bitrate", strconv.Itoa(e.Bitrate))
	set("keyframe-max-dist", strconv.Itoa(e.GOP))
	set("keyframe-mode", "auto")
	set("error-resilient", "default")
	set("lag-in-frames", "0")
	set("threads", strconv.Itoa(e.Threads))
	set("token-partitions", partitions(e.Threads))
	set("buffer-initial-size", "500")
	set("buffer-optimal-size", "600")
	set("buffer-size", "1000")
	set("undershoot", "95")
	set("min-quantizer", "4")
	set("max-quantizer", "56")
	set("static-threshold", "100")
	set("dropframe-threshold", "0")
}

// partitions is vp8enc's enum for as many token partitions as threads.
func partitions(threads int) string {
	switch {
	case threads >= 8:
		return "8"
	case threads >= 4:
		return "4"
	case threads >= 2:
		return "2"
	}
	return "1"
}

// v4l2Controls are the kernel's names of the same settings.
func v4l2Controls(e Encode) string {
	if e.Codec == "vp8" {
		return fmt.Sprintf("controls,video_bitrate=%d,video_gop_size=%d", e.Bitrate, e.GOP)
	}
	return fmt.Sprintf("controls,video_bitrate=%d,video_bitrate_mode=1,h264_i_frame_period=%d,video_gop_size=%d,repeat_sequence_header=1,video_b_frames=0",
		e.Bitrate, e.GOP, e.GOP)
}
