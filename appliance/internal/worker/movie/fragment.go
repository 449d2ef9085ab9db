package movie

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// Flags of a sample (ISO/IEC 14496-12 clause 8.8.3.1).
const (
	flagsKey   = 0x02000000 // depends on no other
	flagsDelta = 0x01010000 // depends on others, is not a sync sample
)

// A fragment's boxes have always the same sizes, but for the table of samples.
const (
	fragmentHead = 8 + 16 + 8 + 16 + 20 + 20 // moof mfhd traf tfhd tfdt trun
	sampleRow    = 12
	boxHead      = 8
)

// appendFragment writes the head of a fragment up to where its data begins.
func appendFragment(dst []byte, number uint32, begin int64, samples []sample, data int) []byte {
	b := boxes(dst)
	moof := b.open("moof")
	at := b.full("mfhd", 0, 0)
	b.u32(number)
	b.close(at)
	traf := b.open("traf")
	at = b.full("tfhd", 0, 0x020000) // offsets count from this moof
	b.u32(trackID)
	b.close(at)
	at = b.full("tfdt", 1, 0)
	b.u64(uint64(begin))
	b.close(at)
	trun := b.full("trun", 0, 0x000701) // offset of the data; each sample's duration, size, flags
	b.u32(uint32(len(samples)))
	b.u32(uint32(fragmentHead + sampleRow*len(samples) + boxHead))
	for _, s := range samples {
		b.u32(s.duration)
		b.u32(s.size)
		if s.sync {
			b.u32(flagsKey)
		} else {
			b.u32(flagsDelta)
		}
	}
	b.close(trun)
	b.close(traf)
	b.close(moof)
	b.u32(uint32(boxHead + data))
	b.text("mdat")
	return b
}

// stored is a sample that lies in the growing file.
type stored struct {
	offset int64 // in the file
	size   int64
	time   int64 // ticks
	sync   bool
}

var errTorn = errors.New("the growing video is damaged")

// each calls visit for every sample of the file, in order, with the fragment's
// table in memory and nothing else.
func (w *Writer) each(ctx context.Context, visit func(stored) error) error {
	first, err := head(w.state)
	if err != nil {
		return err
	}
	var table []byte
	for at := int64(len(first)); at < w.state.Bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var h [fragmentHead]byte
		if _, err := w.file.ReadAt(h[:], at); err != nil {
			return fmt.Errorf("read video: %w", err)
		}
		size, n := int64(binary.BigEndian.Uint32(h[:])), int64(binary.BigEndian.Uint32(h[fragmentHead-8:]))
		if string(h[4:8]) != "moof" || string(h[fragmentHead-16:fragmentHead-12]) != "trun" ||
			n < 1 || n > fragmentSamples || size != fragmentHead+n*sampleRow {
			return fmt.Errorf("%w at byte %d", errTorn, at)
		}
		table = append(table[:0], make([]byte, n*sampleRow+boxHead)...)
		if _, err := w.file.ReadAt(table, at+fragmentHead); err != nil {
			return fmt.Errorf("read video: %w", err)
		}
		s := stored{
			offset: at + size + boxHead,
			time:   int64(binary.BigEndian.Uint64(h[fragmentHead-28:])),
		}
		end := at + size + int64(binary.BigEndian.Uint32(table[n*sampleRow:]))
		for row := table[:n*sampleRow]; len(row) > 0; row = row[sampleRow:] {
			s.size = int64(binary.BigEndian.Uint32(row[4:]))
			s.sync = binary.BigEndian.Uint32(row[8:]) == flagsKey
			if s.offset+s.size > end || end > w.state.Bytes {
				return fmt.Errorf("%w at byte %d", errTorn, at)
			}
			if err := visit(s); err != nil {
				return err
			}
			s.offset += s.size
			s.time += int64(binary.BigEndian.Uint32(row))
		}
		at = end
	}
	return nil
}
