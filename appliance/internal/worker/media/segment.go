package media

import (
	"errors"
	"fmt"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/movie"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// encode hands a picture, which it takes over, to the segment's encoder, and writes
// what comes out. An encoder that gives up (openh264enc does, on noise) is replaced
// by another one, which gets the pictures that the first had not given back, so that
// none is missing.
func (r *recorder) encode(f *engine.Frame, fps float64) error {
	if r.encoder == nil {
		if err := r.beginSegment(f, fps); err != nil {
			f.Release()
			return err
		}
	}
	err := r.push(f)
	if err != nil {
		err = r.replace(err)
	}
	return err
}

func (r *recorder) push(f *engine.Frame) error {
	f.Retain()
	r.inside = append(r.inside, f)
	if err := r.encoder.Push(f); err != nil {
		return fmt.Errorf("encode h264: %w", err)
	}
	return r.write()
}

// replace puts another encoder in the place of one that gave up because of why.
func (r *recorder) replace(why error) error {
	if r.encoder == nil {
		return why
	}
	gone := r.made.Encoder
	_ = r.stop() // that it does not close well is known
	if err := r.write(); err != nil {
		return err
	}
	others := slices.DeleteFunc(plan.EncoderOrder("h264"), func(e string) bool { return e == gone || !engine.HasElement(e) || slices.Contains(r.gone, e) })
	if len(others) == 0 || r.movie == nil {
		return why
	}
	r.gone = append(r.gone, gone)
	if err := r.start(others); err != nil {
		return errors.Join(why, err)
	}
	again := r.inside
	r.inside = nil
	for i, f := range again {
		if err := r.push(f); err != nil {
			for _, rest := range again[i+1:] {
				rest.Release()
			}
			return err
		}
	}
	return nil
}

// beginSegment starts an encoder; the first picture decides how all are made.
func (r *recorder) beginSegment(f *engine.Frame, fps float64) error {
	first := r.made.Encoder == ""
	elements := []string{r.made.Encoder}
	if first {
		r.made.Width, r.made.Height = fit(f.Width, f.Height, r.profile.MaxHeight)
		r.made.FPS, elements = fps, nil
	}
	if err := r.start(elements); err != nil {
		if !first && r.movie != nil {
			return anew(err.Error())
		}
		return err
	}
	if r.movie == nil {
		w, err := movie.Create(r.path, movie.Video{Width: r.made.Width, Height: r.made.Height})
		if err != nil {
			return err
		}
		r.movie = w
	}
	return nil
}

// start makes an encoder like those before it, of the first element that works; nil:
// of any.
func (r *recorder) start(elements []string) error {
	num, den := frameRate(r.made.FPS)
	e, err := engine.NewEncoder(plan.Encode{
		Elements: elements, Codec: "h264", Width: r.made.Width, Height: r.made.Height, FPSNum: num, FPSDen: den,
		Bitrate: r.profile.Bitrate, GOP: int(r.profile.KeyframeInterval.Seconds()*r.made.FPS + 0.5), Threads: r.threads,
	}, r.out)
	if err != nil {
		return fmt.Errorf("start the h264 encoder at %dx%d: %w", r.made.Width, r.made.Height, err)
	}
	r.encoder = e
	r.made.Encoder = e.Name()
	r.made.Width, r.made.Height = e.Size()
	r.started(e.Name())
	return nil
}

// endSegment takes what is still in the encoder, and closes it.
func (r *recorder) endSegment() error {
	for r.encoder != nil {
		e := r.encoder
		err := e.Close()
		if err == nil {
			r.encoder = nil
			break
		}
		if err := r.replace(fmt.Errorf("encode h264: %w", err)); err != nil {
			return err
		}
	}
	err := r.write()
	for len(r.inside) > 0 {
		r.leftOut()
	}
	return err
}

// leftOut counts the oldest picture of which an encoder made nothing.
func (r *recorder) leftOut() {
	r.inside[0].Release()
	r.inside = r.inside[1:]
	r.late++
	r.ledger.pictureLate()
}

// letGo releases pictures that no encoder will give back.
func (r *recorder) letGo() {
	for _, f := range r.inside {
		f.Release()
	}
	r.inside = nil
}

// stop lets go of an encoder that is not needed any more.
func (r *recorder) stop() error {
	if r.encoder == nil {
		return nil
	}
	e := r.encoder
	r.encoder = nil
	if err := e.Close(); err != nil {
		return fmt.Errorf("close the encoder: %w", err)
	}
	return nil
}

// out takes a unit from the encoder's goroutine. What it keeps is bounded by what
// is in the encoder: write follows every picture that goes in.
func (r *recorder) out(u engine.Unit) {
	r.spent.add(u.Encode)
	r.mu.Lock()
	r.units = append(r.units, u)
	r.mu.Unlock()
}

// write moves finished units into the video.
func (r *recorder) write() error {
	r.mu.Lock()
	units := r.units
	r.units = nil
	r.mu.Unlock()
	for _, u := range units {
		// Units come in the order of pictures: one that is passed over was left out.
		for len(r.inside) > 0 && r.inside[0].PTS < u.PTS {
			r.leftOut()
		}
		if len(r.inside) > 0 && r.inside[0].PTS == u.PTS {
			r.inside[0].Release()
			r.inside = r.inside[1:]
		}
		err := r.movie.Write(movie.Unit{Data: u.Data, PTS: u.PTS, Keyframe: u.Keyframe})
		switch {
		case err == nil:
			r.sent++
			r.ledger.pictureSent()
		case errors.Is(err, movie.ErrUnit):
			r.late++
			r.ledger.pictureLate()
		default:
			return err
		}
	}
	return nil
}

// encoders lists what to try for a codec, best first, without one that failed; nil:
// the engine's own order.
func encoders(codec, without string) []string {
	order := slices.DeleteFunc(plan.EncoderOrder(codec), func(e string) bool { return e == without })
	if slices.ContainsFunc(order, engine.HasElement) {
		return order
	}
	return nil
}
