package track

import (
	"errors"
	"fmt"
	"time"
)

// Config of a Tracker. The zero value of a field means its default.
type Config struct {
	// Width and Height of the frame in pixels; 0: boxes are not clipped until
	// SetFrame was called.
	Width, Height int
	// High is the score from which a detection may start and continue a track:
	// the threshold that the user sees. Default 0.4.
	High float32
	// Low is the score from which a detection may continue a track that nothing
	// better continues (second matching stage). Detections below it are ignored.
	// Default: a quarter of High, at least 0.05.
	Low float32
	// Confirm is how many frames must support an object before it is shown and
	// gets its id. Default 2. What the first frame shows is taken at once.
	Confirm int
	// Lost is how long a track without support is remembered. Default 1.5 s.
	Lost time.Duration
	// Hold is how long a track without support is still shown by At. It is
	// stretched to two update intervals where detections come more rarely, so
	// that boxes do not blink. Default 400 ms; never more than Lost.
	Hold time.Duration
	// Overlap is the least likeness, IoU weighed with the score, of a good
	// detection to the place where its track is expected. Default 0.2.
	Overlap float32
	// MaxObjects bounds detections per frame and tracks in memory; the best
	// scores stay. Default 512.
	MaxObjects int
}

// ErrConfig is returned by New for values that cannot work.
var ErrConfig = errors.New("tracker settings")

func (c Config) withDefaults() Config {
	if c.High == 0 {
		c.High = 0.4
	}
	if c.Low == 0 {
		c.Low = min(max(0.25*c.High, 0.05), c.High)
	}
	if c.Confirm == 0 {
		c.Confirm = 2
	}
	if c.Lost == 0 {
		c.Lost = 1500 * time.Millisecond
	}
	if c.Hold == 0 {
		c.Hold = 400 * time.Millisecond
	}
	if c.Overlap == 0 {
		c.Overlap = strictOverlap
	}
	if c.MaxObjects == 0 {
		c.MaxObjects = 512
	}
	c.Hold = min(c.Hold, c.Lost)
	return c
}

// check says what is wrong with a configuration that has its defaults. NaN
// fails every comparison, so conditions are written for what is right.
func (c Config) check() error {
	switch {
	case !(c.High > 0 && c.High <= 1):
		return fmt.Errorf("%w: high score %v is not in (0,1]", ErrConfig, c.High)
	case !(c.Low > 0 && c.Low <= c.High):
		return fmt.Errorf("%w: low score %v is not in (0,%v]", ErrConfig, c.Low, c.High)
	case c.Confirm < 1:
		return fmt.Errorf("%w: confirmation after %d frames", ErrConfig, c.Confirm)
	case c.Lost < 0 || c.Hold < 0:
		return fmt.Errorf("%w: a negative time", ErrConfig)
	case !(c.Overlap > 0 && c.Overlap <= 1):
		return fmt.Errorf("%w: least overlap %v is not in (0,1]", ErrConfig, c.Overlap)
	case c.MaxObjects < 1 || c.MaxObjects > 4096:
		return fmt.Errorf("%w: at most %d objects: must be 1 to 4096", ErrConfig, c.MaxObjects)
	case c.Width < 0 || c.Height < 0:
		return fmt.Errorf("%w: frame of %dx%d", ErrConfig, c.Width, c.Height)
	}
	return nil
}
