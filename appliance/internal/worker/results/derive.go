package results

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Derived are the files that are made of the log alone; each may be nil.
type Derived struct {
	COCO io.Writer // coco.json
	MOT  io.Writer // tracks.mot.txt
	VTT  io.Writer // boxes.vtt
}

// Counts is what the log sums up to.
type Counts struct {
	Lines, Objects uint64
	Classes        map[string]*Class
}

// Derive reads a log, twice, and writes what is made of it: the same bytes of the
// same log and source. Memory does not grow with the log but for the number of
// classes and a bit for each track.
func Derive(ctx context.Context, log io.ReadSeeker, src Source, to Derived) (Counts, error) {
	c := Counts{Classes: map[string]*Class{}}
	coco, mot, vtt := newCOCO(to.COCO, src), newMOT(to.MOT), newVTT(to.VTT, src)
	var tracks seen
	pass := func(each func(Line) error) error {
		if _, err := log.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the results' log: %w", err)
		}
		return Read(log, func(l Line) error {
			if l.Seq%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return each(l)
		})
	}
	err := pass(func(l Line) error {
		c.Lines++
		c.Objects += uint64(len(l.Objects))
		for _, o := range l.Objects {
			class := c.Classes[o.Label]
			if class == nil {
				if len(c.Classes) >= maxLabels {
					return fmt.Errorf("%w: more than %d classes", ErrLog, maxLabels)
				}
				class = &Class{}
				c.Classes[o.Label] = class
			}
			class.Boxes++
			fresh, err := tracks.add(o)
			if err != nil {
				return err
			}
			if fresh {
				class.Tracks++
			}
		}
		coco.image(l)
		mot.line(l)
		vtt.line(l)
		return nil
	})
	if err != nil {
		return c, err
	}
	if to.COCO != nil {
		coco.begin()
		if err := pass(coco.annotate); err != nil {
			return c, err
		}
	}
	coco.end()
	vtt.end()
	for name, w := range map[string]*bufio.Writer{COCOName: coco.w, MOTName: mot.w, VTTName: vtt.w} {
		if err := w.Flush(); err != nil {
			return c, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return c, nil
}

// maxLabels bounds the classes that are kept in memory; models have a hundred.
const maxLabels = 1 << 16

// buffered writes to w in large pieces; to nothing if w is nil. Its first error is
// kept, and Flush's.
func buffered(w io.Writer) *bufio.Writer {
	if w == nil {
		w = io.Discard
	}
	return bufio.NewWriterSize(w, 64<<10)
}

// seen is a set of track ids, which count from 1: a bit for each.
type seen struct{ bits []uint64 }

// maxTrack bounds what a log that no tracker wrote could ask for: 128 MiB.
const maxTrack = 1 << 30

func (s *seen) add(o link.Object) (fresh bool, err error) {
	if o.ID < 1 || o.ID > maxTrack {
		return false, fmt.Errorf("%w: a track's id is %d", ErrLog, o.ID)
	}
	word, bit := o.ID/64, uint64(1)<<(o.ID%64)
	if need := word + 1 - len(s.bits); need > 0 {
		s.bits = append(s.bits, make([]uint64, need)...)
	}
	fresh = s.bits[word]&bit == 0
	s.bits[word] |= bit
	return fresh, nil
}
