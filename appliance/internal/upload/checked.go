package upload

import (
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // a checksum that tus clients send, against damage and not against attackers
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/watchpost/watchpost/state/spool"
)

// Algorithms are the checksums that AppendChecked knows.
func Algorithms() []string { return []string{"sha1", "sha256", "sha512", "md5", "crc32"} }

func checksum(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	case "md5":
		return md5.New()
	case "crc32":
		return crc32.NewIEEE()
	}
	return nil
}

// AppendChecked is Append of exactly length bytes, of which none counts unless all came
// and have the checksum sum (not encoded) by algorithm, one of Algorithms. n is 0 or length. Memory is as bounded as Append's.
// Errors beyond Append's: ErrChecksum; ErrInvalid for an unknown algorithm; io.ErrUnexpectedEOF.
func (s *Uploads) AppendChecked(ctx context.Context, id string, offset int64, r io.Reader, length int64, algorithm string, sum []byte) (n int64, err error) {
	h := checksum(algorithm)
	if h == nil {
		return 0, s.refuse(fail(ErrInvalid, "the checksum algorithm %q is not known; there are %v", shorten(algorithm), Algorithms()))
	}
	if len(sum) != h.Size() || length < 0 {
		return 0, s.refuse(fail(ErrInvalid, "a %s checksum of %d bytes over %d bytes", algorithm, len(sum), length))
	}
	e, f, done, err := s.enter(ctx, id, offset)
	if err != nil {
		return 0, s.refuse(err)
	}
	defer done()
	c := checked{s: s, e: e, h: h, offset: offset, length: length, sum: sum}
	if err := c.run(ctx, f, r); err != nil {
		return 0, s.refuse(err)
	}
	n, err = s.finish(ctx, e, offset, length)
	if n < length {
		n = 0
	}
	return n, s.refuse(err)
}

// checked is one AppendChecked under way.
type checked struct {
	s              *Uploads
	e              *entry
	h              hash.Hash
	offset, length int64
	sum            []byte
}

// run writes to the place at once, where nothing of it counts until the hold is kept.
func (c *checked) run(ctx context.Context, f *spool.File, r io.Reader) error {
	if err := c.s.grow(c.e, c.offset+c.length); err != nil {
		return err
	}
	hold, err := f.Hold(ctx, c.offset, c.offset+c.length, busyWait)
	if err != nil {
		return c.s.disk(err)
	}
	defer hold.Release()
	buf, err := c.s.buffers.get(ctx, c.s.stop)
	if err != nil {
		return err
	}
	defer c.s.buffers.put(buf)
	for done := int64(0); done < c.length; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), c.length-done)])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("%d of %d bytes with a checksum came; none of them counts: send them again: %w", done+int64(n), c.length, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		c.h.Write(buf[:n])
		if err := hold.Put(buf[:n], c.offset+done); err != nil {
			return c.s.disk(err)
		}
		done += int64(n)
		if err := c.e.refused(); err != nil {
			return err
		}
	}
	if !bytes.Equal(c.h.Sum(nil), c.sum) {
		return fail(ErrChecksum, "the bytes have the checksum %x, not %x as was said; none of them counts: send them again", c.h.Sum(nil), c.sum)
	}
	if err := hold.Keep(); err != nil {
		return c.s.disk(err)
	}
	return nil
}
