package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Film is a file that is sent in the protocol's plain form.
type Film struct {
	io.ReaderAt
	Size int64
	// Chunk is the payload of a message, bytes; 0: 48 KiB.
	Chunk int
	// Order lists the chunks to send, any of them any number of times; nil: each
	// once, from the first to the last.
	Order []int
	// Before is called before each chunk with the number of those sent: to pause, or
	// (with an error) to stop there; nil: nobody.
	Before func(sent int) error
}

// Chunks is how many there are.
func (f Film) Chunks() int {
	return int((f.Size + int64(f.chunk()) - 1) / int64(f.chunk()))
}

func (f Film) chunk() int {
	if f.Chunk == 0 {
		return 48 << 10
	}
	return f.Chunk
}

// uploadHead is the head of a plain chunk, bytes.
const uploadHead = 8

// Upload sends a film over video_upload and returns when all of it has been handed to
// the transport. There is no answer in the plain form: what comes of it is told by
// documents.
func (w *Worker) Upload(ctx context.Context, f Film) error {
	ch, err := w.UploadChannel(ctx)
	if err != nil {
		return err
	}
	total := f.Chunks()
	message := make([]byte, uploadHead+f.chunk())
	binary.LittleEndian.PutUint32(message[4:], uint32(total))
	n := total
	if f.Order != nil {
		n = len(f.Order)
	}
	for sent := range n {
		i := sent
		if f.Order != nil {
			i = f.Order[sent]
		}
		if f.Before != nil {
			if err := f.Before(sent); err != nil {
				return err
			}
		}
		at := int64(i) * int64(f.chunk())
		k := min(int64(f.chunk()), f.Size-at)
		if k <= 0 {
			return fmt.Errorf("the film has no chunk %d", i)
		}
		if _, err := f.ReadAt(message[uploadHead:uploadHead+k], at); err != nil && (!errors.Is(err, io.EOF) || at+k < f.Size) {
			return fmt.Errorf("read the film: %w", err)
		}
		binary.LittleEndian.PutUint32(message, uint32(i))
		if err := ch.Send(ctx, message[:uploadHead+k]); err != nil {
			return fmt.Errorf("send chunk %d of %d: %w", i, total, err)
		}
	}
	return nil
}

// UploadChannel is video_upload, once it is open: to send anything on it, to read its
// keep-alives, or to speak the resume extension (Channel.Upload). One goroutine may
// write, Upload included, and one read.
func (w *Worker) UploadChannel(ctx context.Context) (*Channel, error) {
	return w.wait(ctx, w.upload, "video_upload")
}

// KeepAlive sends a keep-alive of one byte and waits for its echo.
func (w *Worker) KeepAlive(ctx context.Context, b byte) (time.Duration, error) {
	ch, err := w.UploadChannel(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := ch.WriteDataChannel([]byte{b}, false); err != nil {
		return 0, fmt.Errorf("send a keep-alive: %w", err)
	}
	end := context.AfterFunc(ctx, func() { _ = ch.Close() }) // the read has no other end
	defer end()
	buf := make([]byte, 64)
	n, _, err := ch.ReadDataChannel(buf)
	if err != nil {
		return 0, fmt.Errorf("wait for the keep-alive: %w", err)
	}
	if n != 1 || buf[0] != b {
		return 0, fmt.Errorf("%w: a keep-alive of % x is answered with % x", ErrProtocol, b, buf[:n])
	}
	return time.Since(began), nil
}
