package hw

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watchpost/watchpost/hw/clips"
)

// Prover runs elements. It is implemented over GStreamer (package hw/proof) and by
// fakes for hardware that a machine lacks. Its errors are one line.
type Prover interface {
	// Has tells whether there is an element of that name.
	Has(element string) bool
	// Decode has element decode a clip, a file that holds one video stream of the
	// codec, and hands out each decoded picture's luma plane in the order of
	// presentation: rows stride bytes apart, valid during the call. An error of
	// picture ends it.
	Decode(ctx context.Context, element, codec string, clip []byte, picture func(luma []byte, width, height, stride int) error) error
	// Encode has element encode pictures, I420 without padding, and returns what came
	// out as a file for Decode.
	Encode(ctx context.Context, element, codec string, width, height, fps int, pictures [][]byte) (clip []byte, err error)
}

// Outcome is what became of a candidate. Reason is empty if it is proven.
type Outcome struct {
	Candidate Candidate     `json:"candidate"`
	Reason    string        `json:"reason,omitempty"`
	Frames    int           `json:"frames,omitempty"`
	Took      time.Duration `json:"took_ns"`
}

// How far a decoded picture may be from the one that was encoded, as mean luma
// difference: what the clips lose by compression is below 3, and the nearest picture
// that no decoder should give is 25 away (see the tests of package clips).
const tolerance = 10

// Time that one candidate has. Hardware answers within a fraction of a second, or
// is not there; software waits for its turn when the box is busy.
const (
	hardwareLimit = 3 * time.Second
	softwareLimit = 15 * time.Second
)

// limit is the time that a candidate has.
func (c Candidate) limit() time.Duration {
	if c.Kind.Hardware() {
		return hardwareLimit
	}
	return softwareLimit
}

// Prove proves one candidate, in this process. judges names the decoder that says
// whether an encoder's work is right; without one, encoders are refused.
func Prove(ctx context.Context, p Prover, c Candidate, judge string) Outcome {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.limit())
	defer cancel()
	o := Outcome{Candidate: c}
	var err error
	if c.Role == Encode {
		o.Frames, err = proveEncoder(ctx, p, c, judge)
	} else {
		o.Frames, err = proveDecoder(ctx, p, c)
	}
	o.Took = time.Since(start)
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		o.Reason = timedOut(c)
	default:
		o.Reason = oneLine(err.Error())
	}
	return o
}

func timedOut(c Candidate) string { return fmt.Sprintf("timed out after %v", c.limit()) }

func proveDecoder(ctx context.Context, p Prover, c Candidate) (frames int, err error) {
	clip, ok := clips.Clip(c.Codec)
	if !ok {
		return 0, fmt.Errorf("there is no clip for %s", c.Codec)
	}
	return watch(ctx, p, c.Element, c.Codec, clip)
}

// proveEncoder has the encoder encode the pictures of the clips, and looks at them
// through a decoder that has proven itself.
func proveEncoder(ctx context.Context, p Prover, c Candidate, judge string) (frames int, err error) {
	if judge == "" {
		return 0, fmt.Errorf("there is no proven decoder for %s to check it with", c.Codec)
	}
	var pictures [][]byte
	for n := range clips.Frames {
		pictures = append(pictures, clips.Picture(n))
	}
	clip, err := p.Encode(ctx, c.Element, c.Codec, clips.Width, clips.Height, clips.FPS, pictures)
	if err != nil {
		return 0, err
	}
	frames, err = watch(ctx, p, judge, c.Codec, clip)
	if err != nil {
		return frames, fmt.Errorf("what it encoded, looked at through %s: %w", judge, err)
	}
	return frames, nil
}

// watch decodes a clip and compares each picture with what it has to be.
func watch(ctx context.Context, p Prover, element, codec string, clip []byte) (frames int, err error) {
	err = p.Decode(ctx, element, codec, clip, func(luma []byte, width, height, stride int) error {
		g, err := clips.Measure(luma, width, height, stride)
		if err != nil {
			return err
		}
		if frames >= clips.Frames {
			return fmt.Errorf("gave more than the clip's %d pictures", clips.Frames)
		}
		differs := g.Misses(frames)
		nearest, least := g.Nearest()
		switch {
		case differs <= tolerance:
		case least <= tolerance:
			return fmt.Errorf("pictures in the wrong order: the clip's picture %d came as number %d", nearest+1, frames+1)
		default:
			return fmt.Errorf("decoded a wrong picture (luma of picture %d differs by %.0f)", frames+1, differs)
		}
		frames++
		return nil
	})
	switch {
	case err != nil:
		return frames, err
	case frames == 0:
		return 0, errors.New("no picture came out")
	case frames < clips.Frames:
		return frames, fmt.Errorf("gave only %d of %d pictures", frames, clips.Frames)
	}
	return frames, nil
}

// oneLine makes a reason out of whatever an element had to say.
func oneLine(s string) string {
	const most = 200
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
