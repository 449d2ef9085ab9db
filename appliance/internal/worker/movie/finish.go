package movie

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Finish writes the whole video to another file, its index in front of its
// pictures, and syncs it. The growing file stays, and can be gone on with or be
// finished again: after an error nothing is left at to. It takes the disk space of
// the video once more; a disk that has not as much is told at once.
func (w *Writer) Finish(ctx context.Context, to string) error {
	return w.finish(ctx, to, 0xffffffff)
}

// finish has the bound above which offsets and sizes take 64 bits for its tests.
func (w *Writer) finish(ctx context.Context, to string, limit32 int64) (err error) {
	if w.err != nil {
		return w.err
	}
	if w.state.Samples == 0 {
		return ErrEmpty
	}
	if n := len(w.samples); n > 0 {
		w.samples[n-1].duration = uint32(w.state.Step)
	}
	if err := w.flush(); err != nil {
		return err
	}
	f := &finisher{w: w, ctx: ctx}
	if err := f.measure(); err != nil {
		return fmt.Errorf("finish video: %w", err)
	}
	index, err := f.index(limit32)
	if err != nil {
		return fmt.Errorf("finish video: %w", err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("finish video: %w", err)
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if err != nil {
			err = fmt.Errorf("finish video: %w", errors.Join(err, os.Remove(to)))
		}
	}()
	if err := reserve(out, f.dataAt+f.bytes); err != nil {
		return err
	}
	if err := f.writeIndex(out, index); err != nil {
		return err
	}
	if err := f.copyData(out); err != nil {
		return err
	}
	return datasync(out)
}

// reserve takes the space of the file before it is written. File systems that
// cannot do so are left to tell later.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return err
	}
	return nil
}

// chunkSamples is how many samples one entry of the table of offsets is for.
const chunkSamples = 32

// finisher is one Finish. It goes over the fragments' tables several times rather
// than keep them.
type finisher struct {
	w   *Writer
	ctx context.Context

	strip    int64 // bytes of parameter sets that each keyframe leaves behind
	first    int64 // time of the first sample, ticks
	duration int64 // of the whole
	bytes    int64 // of all pictures
	samples  int64
	syncs    int64
	runs     int64 // of samples with the same duration

	dataAt int64 // where the pictures begin
	wide   bool  // offsets take 64 bits
}

// each visits every sample as it will be, with its duration.
func (f *finisher) each(visit func(s stored, duration int64) error) error {
	var waiting stored
	n := 0
	err := f.w.each(f.ctx, func(s stored) error {
		if s.sync {
			s.offset, s.size = s.offset+f.strip, s.size-f.strip
		}
		last := waiting
		waiting = s
		if n++; n == 1 {
			return nil
		}
		return visit(last, s.time-last.time)
	})
	if err != nil || n == 0 {
		return err
	}
	return visit(waiting, f.w.state.Step)
}

// measure learns all that decides how large the index is.
func (f *finisher) measure() error {
	if !f.w.state.Varied {
		f.strip = int64(len(f.w.state.Sets))
	}
	before := int64(-1)
	err := f.each(func(s stored, duration int64) error {
		if s.size <= 0 || duration <= 0 || duration > 0xffffffff {
			return fmt.Errorf("%w: a frame of %d bytes and %d ticks", errTorn, s.size, duration)
		}
		if f.samples == 0 {
			f.first = s.time
		}
		f.samples++
		f.bytes += s.size
		f.duration += duration
		if s.sync {
			f.syncs++
		}
		if duration != before {
			f.runs++
		}
		before = duration
		return nil
	})
	if err == nil && f.samples != f.w.state.Samples {
		return fmt.Errorf("%w: %d of its %d frames are there", errTorn, f.samples, f.w.state.Samples)
	}
	return err
}

func (f *finisher) chunks() int64 { return (f.samples + chunkSamples - 1) / chunkSamples }

// index is the beginning of the file up to the tables of samples, whose sizes are
// known by now.
func (f *finisher) index(limit32 int64) ([]byte, error) {
	m := f.w.state
	config, err := configuration(m.Sets)
	if err != nil {
		return nil, err
	}
	entry := "avc1"
	if m.Varied {
		entry = "avc3"
	}
	build := func() boxes {
		var b boxes
		b.kind("isom", "isom", "iso2", "iso6", entry, "mp41")
		moov := b.open("moov")
		b.movieHeader(f.first + f.duration)
		trak := b.open("trak")
		b.trackHeader(m, f.first+f.duration)
		b.edits(f.first, f.duration)
		mdia, minf, stbl := b.media(f.duration)
		b.description(m, entry, config)
		for _, open := range []int{stbl, minf, mdia, trak, moov} {
			b.closeBefore(open, f.tables())
		}
		return b
	}
	b := build()
	size := func() int64 { return int64(len(b)) + f.tables() + f.dataHead(limit32) }
	if f.wide = size()+f.bytes > limit32; f.wide {
		b = build()
	}
	f.dataAt = size()
	return b, nil
}

// tables is the size of the tables that writeIndex adds.
func (f *finisher) tables() int64 {
	stts, stss, stsz := 16+8*f.runs, 16+4*f.syncs, 20+4*f.samples
	return stts + stss + stsz + int64(len(f.chunkSizes())) + 16 + f.chunks()*f.offsetSize()
}

func (f *finisher) offsetSize() int64 {
	if f.wide {
		return 8
	}
	return 4
}

// dataHead is the size of the header of the box of pictures.
func (f *finisher) dataHead(limit32 int64) int64 {
	if f.bytes+boxHead > limit32 {
		return 2 * boxHead
	}
	return boxHead
}

// chunkSizes is the table of samples to a chunk (clause 8.7.4).
func (f *finisher) chunkSizes() boxes {
	whole, rest := f.samples/chunkSamples, f.samples%chunkSamples
	var rows [][2]uint32
	if whole > 0 {
		rows = append(rows, [2]uint32{1, chunkSamples})
	}
	if rest > 0 {
		rows = append(rows, [2]uint32{uint32(whole + 1), uint32(rest)})
	}
	var b boxes
	at := b.full("stsc", 0, 0)
	b.u32(uint32(len(rows)))
	for _, r := range rows {
		b.u32(r[0])
		b.u32(r[1])
		b.u32(1)
	}
	b.close(at)
	return b
}

// writeIndex writes everything in front of the pictures. bufio keeps the first
// error for Flush.
func (f *finisher) writeIndex(out io.Writer, index []byte) error {
	b := bufio.NewWriterSize(out, 256<<10)
	b.Write(index)
	u32 := func(v ...int64) {
		for _, x := range v {
			b.Write(binary.BigEndian.AppendUint32(b.AvailableBuffer(), uint32(x)))
		}
	}
	table := func(kind string, size int64, fields ...int64) {
		u32(size)
		b.WriteString(kind)
		u32(0)
		u32(fields...)
	}
	table("stts", 16+8*f.runs, f.runs)
	run, lasting := int64(0), int64(-1)
	err := f.each(func(_ stored, duration int64) error {
		if duration != lasting && run > 0 {
			u32(run, lasting)
			run = 0
		}
		run, lasting = run+1, duration
		return nil
	})
	u32(run, lasting)

	table("stss", 16+4*f.syncs, f.syncs)
	n := int64(0)
	err = errors.Join(err, f.each(func(s stored, _ int64) error {
		if n++; s.sync {
			u32(n)
		}
		return nil
	}))

	table("stsz", 20+4*f.samples, 0, f.samples)
	err = errors.Join(err, f.each(func(s stored, _ int64) error {
		u32(s.size)
		return nil
	}))

	b.Write(f.chunkSizes())

	kind := "stco"
	if f.wide {
		kind = "co64"
	}
	table(kind, 16+f.chunks()*f.offsetSize(), f.chunks())
	n = 0
	at := f.dataAt
	err = errors.Join(err, f.each(func(s stored, _ int64) error {
		if n%chunkSamples == 0 {
			if f.wide {
				u32(at>>32, at&0xffffffff)
			} else {
				u32(at)
			}
		}
		n++
		at += s.size
		return nil
	}))

	if head := f.dataAt - int64(len(index)) - f.tables(); head == boxHead {
		u32(head + f.bytes)
		b.WriteString("mdat")
	} else {
		u32(1)
		b.WriteString("mdat")
		u32((head+f.bytes)>>32, (head+f.bytes)&0xffffffff)
	}
	return errors.Join(err, b.Flush())
}

// copyStep is how much is copied between two looks at the context.
const copyStep = 16 << 20

// copyData copies the pictures, in stretches as long as they lie together. Between
// files of one disk the kernel does so by itself.
func (f *finisher) copyData(out *os.File) error {
	from, until, written := int64(0), int64(0), f.dataAt
	stretch := func() error {
		for from < until {
			if err := f.ctx.Err(); err != nil {
				return err
			}
			n := min(copyStep, until-from)
			if _, err := f.w.file.Seek(from, io.SeekStart); err != nil {
				return err
			}
			if _, err := io.CopyN(out, f.w.file, n); err != nil {
				return err
			}
			// Begin to write now: the sync at the end cannot be called off.
			_ = unix.SyncFileRange(int(out.Fd()), written, n, unix.SYNC_FILE_RANGE_WRITE)
			from, written = from+n, written+n
		}
		return nil
	}
	err := f.each(func(s stored, _ int64) error {
		if s.offset != until {
			if err := stretch(); err != nil {
				return err
			}
			from = s.offset
		}
		until = s.offset + s.size
		return nil
	})
	if err != nil {
		return err
	}
	return stretch()
}
