package movie

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a fragment: what is watched as it grows should not lag far behind,
// and what waits in memory should not be much.
const (
	fragmentBytes   = 1 << 20
	fragmentSamples = 1024
	fragmentTicks   = timescale // a second
)

// maxUnit bounds one access unit, and maxSets its parameter sets.
const (
	maxUnit = 256 << 20
	maxSets = 4 << 10
)

// firstStep is how long a frame lasts that is the only one.
const firstStep = timescale / 30

// Errors that callers can tell apart.
var (
	// ErrUnit is wrapped when a unit cannot be written as it is: no picture in it,
	// a beginning that is no keyframe, a time before that of the unit before it.
	// Nothing of it is written; the next unit may follow.
	ErrUnit = errors.New("unit cannot be written")
	// ErrMark is wrapped when a file is not the one that its mark was made of.
	ErrMark = errors.New("the video does not fit its mark")
	// ErrEmpty: there is no frame to make a file of.
	ErrEmpty = errors.New("the video has no frame")
)

// Video is what all units have in common.
type Video struct {
	// Width and Height of the picture in pixels, 1 to 65535.
	Width, Height int
}

// Unit is one picture.
type Unit struct {
	// Data is an H.264 access unit in Annex B, parameter sets in front of
	// keyframes. It is not kept.
	Data []byte
	// PTS is the presentation time, 0 or later, and later than the unit's before:
	// no B-frames.
	PTS      time.Duration
	Keyframe bool
}

// Mark says up to where a growing file is on disk, and how it goes on from there.
// It is bounded in size, whatever the length of the video, and is kept as JSON.
type Mark struct {
	Width  int `json:"width"`
	Height int `json:"height"`
	// Bytes of the file, all of them whole fragments.
	Bytes     int64  `json:"bytes"`
	Fragments uint32 `json:"fragments"`
	Samples   int64  `json:"samples"`
	// Last is the time of the last sample, Step the time since the one before it;
	// both in ticks of 1/90000 s.
	Last int64 `json:"last"`
	Step int64 `json:"step"`
	// PTS of the last unit, as it was given.
	PTS time.Duration `json:"pts_ns"`
	// Sets are the parameter sets that the file began with, each behind its length
	// in four bytes; Current those in force, where they are others.
	Sets    []byte `json:"sets,omitempty"`
	Current []byte `json:"current,omitempty"`
	// Varied: not all keyframes have Sets and nothing else.
	Varied bool `json:"varied,omitempty"`
}

// Writer is a growing file. It is for one goroutine.
type Writer struct {
	file  *os.File
	state Mark // of the samples taken so far; Bytes of what is written
	err   error

	// The fragment in the making.
	begin   int64 // time of its first sample
	samples []sample
	data    []byte
	scratch []byte
}

// sample is one frame as the tables have it.
type sample struct {
	size     uint32
	duration uint32 // ticks
	sync     bool
}

// Create begins a file, over what was there.
func Create(path string, v Video) (*Writer, error) {
	if v.Width < 1 || v.Height < 1 || v.Width > 0xffff || v.Height > 0xffff {
		return nil, fmt.Errorf("a video of %dx%d cannot be", v.Width, v.Height)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create video: %w", err)
	}
	return &Writer{file: f, state: Mark{Width: v.Width, Height: v.Height, Step: firstStep}}, nil
}

// Reopen goes on with a file where a mark was made. What follows the mark is cut
// off: a crash may have left anything there. An error that wraps ErrMark says that
// the file is not the mark's, and begins a new one.
func Reopen(path string, m Mark) (*Writer, error) {
	if m.Bytes == 0 {
		return Create(path, Video{Width: m.Width, Height: m.Height})
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("go on with video: %w", err)
	}
	if err := fits(f, m); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.Truncate(m.Bytes); err != nil {
		f.Close()
		return nil, fmt.Errorf("go on with video: cut off what is behind the mark: %w", err)
	}
	return &Writer{file: f, state: m}, nil
}

// fits checks a file against its mark: that it is as long, and begins as a file
// with these parameter sets does.
func fits(f *os.File, m Mark) error {
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("go on with video: %w", err)
	}
	if st.Size() < m.Bytes {
		return fmt.Errorf("%w: %d bytes are left of %d", ErrMark, st.Size(), m.Bytes)
	}
	if m.Width < 1 || m.Height < 1 || m.Width > 0xffff || m.Height > 0xffff || m.Last < 0 || m.Step < 1 || m.Samples < 1 {
		return fmt.Errorf("%w: the mark itself is damaged", ErrMark)
	}
	want, err := head(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMark, err)
	}
	got := make([]byte, len(want))
	if n, _ := f.ReadAt(got, 0); n < len(want) || !bytes.Equal(got, want) {
		return fmt.Errorf("%w: it begins differently", ErrMark)
	}
	return nil
}

// Write adds one unit. It is in the file after a while, and on disk after Commit.
// An error that does not wrap ErrUnit is the file's, and remains.
func (w *Writer) Write(u Unit) error {
	if w.err != nil {
		return w.err
	}
	if len(u.Data) > maxUnit {
		return fmt.Errorf("%w: %d bytes", ErrUnit, len(u.Data))
	}
	at, err := w.place(u.PTS)
	if err != nil {
		return err
	}
	data, err := w.convert(u)
	if err != nil {
		return err
	}
	if w.state.Samples > 0 {
		w.state.Step = at - w.state.Last
	}
	if n := len(w.samples); n > 0 {
		w.samples[n-1].duration = uint32(w.state.Step)
		if n >= fragmentSamples || len(w.data)+len(data) > fragmentBytes || at-w.begin >= fragmentTicks {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	if len(w.samples) == 0 {
		w.begin = at
	}
	w.samples = append(w.samples, sample{size: uint32(len(data)), sync: u.Keyframe})
	w.data = append(w.data, data...)
	w.state.Last, w.state.PTS = at, u.PTS
	w.state.Samples++
	return nil
}

// place is the time of the next sample in ticks. Two frames within one tick are
// put one after the other.
func (w *Writer) place(pts time.Duration) (int64, error) {
	if pts < 0 {
		return 0, fmt.Errorf("%w: it is to be shown at %v", ErrUnit, pts)
	}
	at := ticks(pts)
	if w.state.Samples == 0 {
		return at, nil
	}
	last := w.state.Last
	switch {
	case pts < w.state.PTS:
		return 0, fmt.Errorf("%w: it is to be shown %v before the one before it", ErrUnit, w.state.PTS-pts)
	case at-last > 0xffffffff:
		return 0, fmt.Errorf("%w: it is to be shown %v after the one before it; an MP4 has room for 13 hours", ErrUnit, pts-w.state.PTS)
	}
	return max(at, last+1), nil
}

// flush writes the fragment in the making. What could not be written whole is
// taken back.
func (w *Writer) flush() error {
	if len(w.samples) == 0 {
		return nil
	}
	b := w.scratch[:0]
	if w.state.Bytes == 0 {
		h, err := head(w.state)
		if err != nil {
			return err
		}
		b = append(b, h...)
	}
	b = appendFragment(b, w.state.Fragments+1, w.begin, w.samples, len(w.data))
	b = append(b, w.data...)
	if _, err := w.file.WriteAt(b, w.state.Bytes); err != nil {
		w.err = fmt.Errorf("write video: %w", err)
		// Best effort: a torn end is cut off by Reopen, and skipped by players.
		_ = w.file.Truncate(w.state.Bytes)
		return w.err
	}
	w.state.Bytes += int64(len(b))
	w.state.Fragments++
	w.scratch, w.samples, w.data = b[:0], w.samples[:0], w.data[:0]
	return nil
}

// Commit ends the fragment and brings all that was written to disk.
func (w *Writer) Commit() (Mark, error) {
	if w.err != nil {
		return Mark{}, w.err
	}
	if n := len(w.samples); n > 0 {
		// The next frame is not known yet; its fragment will tell its own time.
		w.samples[n-1].duration = uint32(w.state.Step)
	}
	if err := w.flush(); err != nil {
		return Mark{}, err
	}
	if err := datasync(w.file); err != nil {
		w.err = fmt.Errorf("sync video: %w", err)
		return Mark{}, w.err
	}
	m := w.state
	m.Sets, m.Current = bytes.Clone(m.Sets), bytes.Clone(m.Current)
	return m, nil
}

// Bytes is how long the file is by now: whole fragments, not all of them on disk.
func (w *Writer) Bytes() int64 { return w.state.Bytes }

// Samples is how many units were written.
func (w *Writer) Samples() int64 { return w.state.Samples }

// Close lets go of the growing file and leaves it as it is; what was written since
// the last Commit may be missing in it.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = os.ErrClosed
	}
	return w.file.Close()
}

// datasync is fdatasync, which also writes the size.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
