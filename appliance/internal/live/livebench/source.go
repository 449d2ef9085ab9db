package livebench

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/live"
)

// keyframeFactor is how much larger a keyframe is than another picture, as
// seen with openh264 at 720p and 2 Mbit/s.
const keyframeFactor = 6

// source publishes units of the sizes and framing of an H.264 encoder's. It is
// the stream's producer too.
type source struct {
	o     Options
	force atomic.Bool
}

func newSource(o Options) *source { return &source{o: o} }

// Want does nothing: the baseline has the source running too.
func (s *source) Want(bool, bool) {}

// RequestKeyframe makes the next unit a keyframe.
func (s *source) RequestKeyframe(live.Codec) { s.force.Store(true) }

func (s *source) run(ctx context.Context, stream *live.Stream) {
	interval := time.Second / time.Duration(s.o.FPS)
	t := time.NewTicker(interval)
	defer t.Stop()
	// A group of pictures has GOP-1 small ones and a large one.
	small := float64(s.o.Bitrate) / 8 / float64(s.o.FPS) * float64(s.o.GOP) / float64(s.o.GOP-1+keyframeFactor)
	since := 0
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		key := since == 0 || s.force.Swap(false)
		size := small * (0.7 + 0.6*rand.Float64())
		if key {
			size, since = small*keyframeFactor, 0
		}
		since = (since + 1) % s.o.GOP
		stream.Publish(live.Unit{Codec: live.H264, Keyframe: key, PTS: time.Since(start), Captured: monotonic(), Data: unit(key, int(size))})
	}
}

// unit is an access unit with NAL framing, parameter sets in front of a keyframe
// and a body that holds no start code.
func unit(key bool, size int) []byte {
	b := make([]byte, 0, size+64)
	slice := byte(0x41)
	if key {
		b = append(b, 0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x80)
		b = append(b, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80)
		slice = 0x65
	}
	b = append(b, 0, 0, 0, 1, slice)
	for x := rand.Uint64(); len(b) < size; x = x*6364136223846793005 + 1442695040888963407 {
		b = append(b, byte(x>>56)|1)
	}
	return b
}

func monotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}
