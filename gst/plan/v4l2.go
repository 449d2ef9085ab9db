package plan

import "fmt"

// Mode is one format that a camera offers.
type Mode struct {
	// Media is "video/x-raw", "image/jpeg" or "video/x-h264".
	Media string
	// Format of raw video ("YUY2", "NV12"); empty otherwise.
	Format string
	Width  int
	Height int
	// Slowest and Fastest are the ends of the range of rates at this size; the same when
	// the camera has this one rate and no other. Zero: it does not tell.
	Slowest, Fastest Rate
}

// Rate is frames a second as a fraction, since a camera takes no other than its own.
type Rate struct{ Num, Den int }

// FPS is the rate as a number; 0: not known.
func (r Rate) FPS() float64 {
	if r.Num <= 0 || r.Den <= 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// rate is what the mode gives when fps frames a second are wanted.
func (m Mode) rate(fps float64) Rate {
	switch {
	case fps >= m.Fastest.FPS():
		return m.Fastest
	case fps <= m.Slowest.FPS():
		return m.Slowest
	}
	n, d := Fraction(fps)
	return Rate{n, d}
}

// V4L2Default is what a camera is asked for when nothing was said.
const (
	v4l2DefaultWidth  = 1280
	v4l2DefaultHeight = 720
	v4l2DefaultFPS    = 30
)

// CaptureSize is the size to ask a camera for.
func CaptureSize(s Source) (width, height int) {
	if s.Width <= 0 || s.Height <= 0 {
		return v4l2DefaultWidth, v4l2DefaultHeight
	}
	return s.Width, s.Height
}

func openV4L2(s Source) Input {
	return Input{
		Kind: V4L2, Live: true, Parse: "parse",
		Pipeline: Pipeline{
			Launch: "v4l2src name=src ! capsfilter name=want ! parsebin name=parse " + units,
			Props:  []Prop{{Element: "src", Name: "device", Value: s.URL}},
		},
	}
}

// Choose picks the mode of a camera that comes nearest to what is wanted: the
// size first, then enough frames a second, then what is cheapest to turn into a
// frame (raw 4:2:0, raw 4:2:2, JPEG, H.264). It returns false without modes.
func Choose(modes []Mode, width, height int, fps float64) (Mode, bool) {
	if width <= 0 || height <= 0 {
		width, height = v4l2DefaultWidth, v4l2DefaultHeight
	}
	if fps <= 0 {
		fps = v4l2DefaultFPS
	}
	best, found, bestScore := Mode{}, false, 0.0
	for _, m := range modes {
		cost, ok := modeCost(m)
		if !ok || m.Width <= 0 || m.Height <= 0 {
			continue
		}
		score := cost
		// A tenth of the area away counts as much as losing a third of the rate.
		off := abs(float64(m.Width*m.Height)-float64(width*height)) / float64(width*height)
		score += off * 100
		if m.Width*height != m.Height*width {
			score += 3 // another aspect ratio
		}
		switch got := m.rate(fps).FPS(); {
		case got <= 0:
		case got < fps:
			score += (1 - got/fps) * 30
		default:
			score += min(got/fps-1, 4) / 2 // more than is wanted: each costs
		}
		if !found || score < bestScore {
			best, found, bestScore = m, true, score
		}
	}
	return best, found
}

// modeCost orders the formats at equal size and rate; false for what no
// converter takes.
func modeCost(m Mode) (float64, bool) {
	switch m.Media {
	case "video/x-raw":
		switch m.Format {
		case "I420", "NV12":
			return 0, true
		case "YV12", "NV21":
			return 0.2, true
		case "YUY2", "UYVY", "YVYU", "Y42B", "NV16":
			return 0.4, true
		case "RGB", "BGR", "GRAY8", "RGBx", "BGRx", "xRGB", "xBGR":
			return 0.8, true
		}
		return 0, false
	case "image/jpeg":
		return 1, true
	case "video/x-h264":
		return 1.5, true
	}
	return 0, false
}

// ModeCaps are the caps that ask a camera for this mode, at the rate that it has
// nearest to fps: asked for another it would give none.
func ModeCaps(m Mode, fps float64) string {
	caps := m.Media
	if m.Format != "" {
		caps += ",format=" + m.Format
	}
	caps += fmt.Sprintf(",width=%d,height=%d", m.Width, m.Height)
	if fps <= 0 {
		fps = v4l2DefaultFPS
	}
	if r := m.rate(fps); r.FPS() > 0 {
		caps += fmt.Sprintf(",framerate=%d/%d", r.Num, r.Den)
	}
	return caps
}
