package plan

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Source names where frames come from and how they are to be decoded.
type Source struct {
	// URL is a file path (or file: URL), rtsp://…, rtsps://…, /dev/videoN or
	// test:PATTERN. It may hold credentials: print Redact of it, never itself.
	URL string
	// FD, if not 0, is where the bytes of a file come from: the reading end of a
	// pipe that may be fed slowly, while the file is still arriving. Nothing is read
	// twice and nothing ahead of its turn. The engine owns it from the call on and
	// closes it; URL is the file's name for people.
	FD int
	// Title is how messages call the source; empty: as Name calls its URL.
	Title string
	// Track is which of the video tracks of a file is played, 0 the first.
	Track int
	// Size of the file that FD gives, in bytes; 0: not known.
	Size int64
	// Transport of RTSP: "tcp", "udp", or "" for TCP, and UDP where TCP is refused.
	Transport string
	// Loop plays a file again from its start; only with Live.
	Loop bool
	// Live paces a file by the clock at its own rate and asks decoders for low
	// delay. RTSP, cameras and patterns are live whatever it says.
	Live bool
	// Width, Height and FPS ask a camera or a pattern for a format; 0: its own.
	Width, Height int
	FPS           float64
	// Decoders gives for a codec ("h264", "h265", "vp8", "vp9", "av1", "mpeg2",
	// "mpeg4", "jpeg") the element factories to try, best first. A codec that is
	// not in it is decoded by what GStreamer ranks highest.
	Decoders map[string][]string
	// Refused factories are never used.
	Refused []string
	// Threads is how many threads a decoder may use; 0: as it likes.
	Threads int
}

// The kinds of sources that the engine opens.
const (
	File = "file"
	RTSP = "rtsp"
	V4L2 = "v4l2"
	Test = "test"
	// Given: its pictures are handed over one by one; no URL names it.
	Given = "given"
)

// Kind tells which kind of source a URL names; what is nothing else is a file.
func Kind(raw string) string {
	lower := strings.ToLower(raw)
	switch {
	case strings.HasPrefix(lower, "rtsp://"), strings.HasPrefix(lower, "rtsps://"):
		return RTSP
	case strings.HasPrefix(raw, "/dev/video"):
		return V4L2
	case strings.HasPrefix(lower, "test:"):
		return Test
	}
	return File
}

// Input is how a source is opened: a pipeline that ends in an appsink named
// "units", from which encoded access units or raw frames are pulled.
type Input struct {
	Pipeline
	// Kind is one of File, RTSP, V4L2 and Test.
	Kind string
	// Live sources keep time by themselves: nothing may wait for long.
	Live bool
	// Parse names the parsebin whose first video pad goes to "units"; empty if
	// the description is linked already.
	Parse string
	// Net names the element whose pads go to Parse (rtspsrc); empty if none.
	Net string
}

// Open plans the input of a source. It fails for what could never work: an
// unknown pattern or transport, an address without a host.
func Open(s Source) (Input, error) {
	switch Kind(s.URL) {
	case RTSP:
		return openRTSP(s)
	case V4L2:
		return openV4L2(s), nil
	case Test:
		return openTest(s)
	}
	if s.Track < 0 {
		return Input{}, fmt.Errorf("there is no video track %d: tracks are counted from 0", s.Track)
	}
	return openFile(s), nil
}

// units ends every input. Its queue bounds what waits in front of the decoder.
const units = "appsink name=units sync=false async=false enable-last-sample=false max-buffers=4"

// FilePath is the path that a file source names.
func FilePath(raw string) string {
	if len(raw) > 5 && strings.EqualFold(raw[:5], "file:") {
		if u, err := url.Parse(raw); err == nil && u.Path != "" {
			return u.Path
		}
		return strings.TrimPrefix(raw[5:], "//")
	}
	return raw
}

// OpenStream plans the input of a file whose bytes the engine brings, in order, to
// an appsrc named "src".
func OpenStream(s Source) Input {
	return Input{
		Kind: File, Parse: "parse", Live: s.Live,
		Pipeline: Pipeline{
			// A little waits, so that the engine can read on.
			Launch: "appsrc name=src format=bytes block=true max-buffers=0 max-time=0 max-bytes=262144 ! parsebin name=parse " + units,
		},
	}
}

func openFile(s Source) Input {
	if s.FD > 0 {
		return OpenStream(s)
	}
	return Input{
		Kind: File, Parse: "parse", Live: s.Live,
		Pipeline: Pipeline{
			Launch: "filesrc name=src ! parsebin name=parse " + units,
			Props:  []Prop{{Element: "src", Name: "location", Value: FilePath(s.URL)}},
		},
	}
}

// Jitter is how long, in milliseconds, RTSP packets may wait for those before
// them. A frame that is complete waits no longer than its packets did. It is no
// bound of what waits (drop-on-latency): when a network, or this machine, stands
// still for longer than that, the packets come all at once, and to throw the oldest
// away would tear a hole in a stream of which nothing was lost. What cannot be
// taken in time is left out behind this, up to a keyframe.
const Jitter = 60

func openRTSP(s Source) (Input, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" {
		// The parser's error would quote the URL, password and all.
		return Input{}, fmt.Errorf("%s is not a valid RTSP address: want rtsp://HOST[:PORT]/PATH (escape special characters of a password as %%XX)", Redact(s.URL))
	}
	var protocols string
	switch s.Transport {
	case "":
		// rtspsrc, allowed both, would try UDP first: a picture that smears with
		// every packet lost, and three seconds to notice a firewall. The engine
		// asks for UDP where the camera refuses this.
		protocols = "tcp"
	case "tcp", "udp":
		protocols = s.Transport
	default:
		return Input{}, fmt.Errorf("unknown RTSP transport %q: want tcp, udp or nothing", s.Transport)
	}
	in := Input{Kind: RTSP, Live: true, Parse: "parse", Net: "src"}
	in.Launch = "rtspsrc name=src identity name=packets silent=true ! parsebin name=parse " + units
	user := u.User
	u.User = nil
	in.Props = []Prop{
		{Element: "src", Name: "location", Value: u.String()},
		{Element: "src", Name: "protocols", Value: protocols},
		{Element: "src", Name: "latency", Value: strconv.Itoa(Jitter)},
		// In microseconds: a dead host is told within 5 s, and a camera that
		// sends nothing over UDP is asked over TCP after 3 s.
		{Element: "src", Name: "tcp-timeout", Value: "5000000"},
		{Element: "src", Name: "timeout", Value: "3000000"},
		// gortsplib, and MediaMTX with it, has clients that name themselves GStreamer
		// wait for a second.
		{Element: "src", Name: "user-agent", Value: "Watchpost", Optional: true},
		{Element: "src", Name: "udp-reconnect", Value: "false"},
		// Cameras on a LAN sign their own certificates: what is checked there
		// is the password, as everybody's RTSP client does.
		{Element: "src", Name: "tls-validation-flags", Value: "0"},
	}
	if user != nil {
		password, _ := user.Password()
		in.Props = append(in.Props,
			Prop{Element: "src", Name: "user-id", Value: user.Username(), Secret: true},
			Prop{Element: "src", Name: "user-pw", Value: password, Secret: true})
	}
	return in, nil
}

// Patterns are the names that may follow "test:", as videotestsrc has them.
var patterns = []string{
	"smpte", "snow", "black", "white", "red", "green", "blue", "checkers-1", "checkers-2",
	"checkers-4", "checkers-8", "circular", "blink", "smpte75", "zone-plate", "gamut",
	"chroma-zone-plate", "solid-color", "ball", "smpte100", "bar", "pinwheel", "spokes",
	"gradient", "colors", "smpte-rp-219",
}

// Patterns lists what may follow "test:".
func Patterns() []string { return slices.Clone(patterns) }

func openTest(s Source) (Input, error) {
	pattern := s.URL[len("test:"):]
	if pattern == "" {
		pattern = "smpte"
	}
	if !slices.Contains(patterns, pattern) {
		return Input{}, fmt.Errorf("unknown test pattern %q: want one of %s", pattern, strings.Join(patterns, ", "))
	}
	w, h := s.Width, s.Height
	if w <= 0 || h <= 0 {
		w, h = 1280, 720
	}
	fps := s.FPS
	if fps <= 0 {
		fps = 30
	}
	n, d := Fraction(fps)
	return Input{
		Kind: Test, Live: true,
		Pipeline: Pipeline{Launch: fmt.Sprintf(
			"videotestsrc name=src is-live=true pattern=%s ! video/x-raw,format=I420,width=%d,height=%d,framerate=%d/%d ! %s",
			pattern, w, h, n, d, units)},
	}, nil
}

// Fraction writes a frame rate as a fraction; the NTSC rates come out exact.
func Fraction(fps float64) (num, den int) {
	if fps <= 0 {
		return 0, 1
	}
	if r := fps * 1001 / 1000; abs(r-round(r)) < 0.001 && abs(fps-round(fps)) > 0.001 {
		return int(round(r)) * 1000, 1001
	}
	if abs(fps-round(fps)) < 0.0005 {
		return int(round(fps)), 1
	}
	num, den = int(round(fps*1000)), 1000
	for a, b := num, den; ; a, b = b, a%b {
		if b == 0 {
			return num / a, den / a
		}
	}
}

func abs(f float64) float64 {
	if f < 0 {
		return -f
	}
	return f
}

func round(f float64) float64 { return float64(int64(f + 0.5)) }
