// Package proof proves decoders and encoders through gst/engine: the same code,
// the same pipelines that will use them, and so the same mistakes.
//
// It is for the processes that a survey starts, see package hw: a candidate may take
// the process that it runs in down, or never come back.
package proof

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

// Engine implements hw.Prover. GStreamer must have been started (engine.Start).
type Engine struct{}

// Has implements hw.Prover.
func (Engine) Has(element string) bool { return engine.HasElement(element) }

// Decode implements hw.Prover.
func (Engine) Decode(ctx context.Context, element, codec string, clip []byte,
	picture func(luma []byte, width, height, stride int) error) error {
	file, err := inMemory(clip)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source := plan.Source{
		URL:      fmt.Sprintf("/proc/self/fd/%d", file.Fd()),
		Decoders: map[string][]string{codec: {element}},
		Threads:  1,
	}
	err = engine.Read(ctx, source, engine.Handlers{
		Info: func(i engine.Info) {
			// A fault of this program, not of the element: the wrong one would be proven.
			if i.Decoder != element {
				cancel(fmt.Errorf("%s was asked to decode, %s did", element, i.Decoder))
			}
		},
		Frame: func(f *engine.Frame) {
			defer f.Release()
			if ctx.Err() != nil {
				return
			}
			if err := picture(f.Planes[0], f.Width, f.Height, f.Stride[0]); err != nil {
				cancel(err)
			}
		},
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		// A reason is about the element; the clip's name would say nothing.
		return errors.New(strings.TrimPrefix(err.Error(), source.URL+": "))
	}
	return nil
}

// inMemory is a file that exists in memory only: to be read by its descriptor's path.
func inMemory(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("clip", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "clip")
	if _, err := file.Write(data); err != nil {
		return nil, fmt.Errorf("fill a file in memory: %w, %w", err, file.Close())
	}
	return file, nil
}

// bitrate of the proof, in bits a second: enough for pictures that are all edges.
const bitrate = 6_000_000

// Encode implements hw.Prover: it returns H.264 as Annex B, VP8 in an IVF file.
func (Engine) Encode(ctx context.Context, element, codec string, width, height, fps int, pictures [][]byte) ([]byte, error) {
	var clip []byte
	if codec == "vp8" {
		clip = ivfHeader(width, height, fps, len(pictures))
	}
	n := 0
	e, err := engine.NewEncoder(plan.Encode{
		Codec: codec, Width: width, Height: height, FPSNum: fps, FPSDen: 1, Bitrate: bitrate, Elements: []string{element}, Live: true,
	}, func(u engine.Unit) {
		if codec == "vp8" {
			clip = appendIVF(clip, n, u.Data)
		} else {
			clip = append(clip, u.Data...)
		}
		n++
	})
	if err != nil {
		return nil, err
	}
	for i, pix := range pictures {
		if err = ctx.Err(); err != nil {
			break
		}
		var f *engine.Frame
		if f, err = frame(pix, width, height); err != nil {
			break
		}
		f.PTS = framePTS(i, fps)
		if err = e.Push(f); err != nil {
			break
		}
	}
	closeErr := e.Close()
	switch {
	case err != nil:
		return nil, err
	case closeErr != nil:
		return nil, closeErr
	case n != len(pictures):
		return nil, fmt.Errorf("made %d pictures out of %d", n, len(pictures))
	}
	return clip, nil
}

// frame copies I420 without padding into a frame.
func frame(pix []byte, width, height int) (*engine.Frame, error) {
	f, err := engine.NewFrame(plan.I420, width, height)
	if err != nil {
		return nil, err
	}
	for p, size := range [3][2]int{{width, height}, {(width + 1) / 2, (height + 1) / 2}, {(width + 1) / 2, (height + 1) / 2}} {
		for y := range size[1] {
			copy(f.Planes[p][y*f.Stride[p]:], pix[y*size[0]:(y+1)*size[0]])
		}
		pix = pix[size[0]*size[1]:]
	}
	return f, nil
}

// ivfHeader and appendIVF write the simplest container of VP8: a header of 32 bytes,
// 12 bytes in front of each frame, little-endian.
func ivfHeader(width, height, fps, frames int) []byte {
	b := append([]byte("DKIF"), 0, 0, 32, 0)
	b = append(b, "VP80"...)
	b = binary.LittleEndian.AppendUint16(b, uint16(width))
	b = binary.LittleEndian.AppendUint16(b, uint16(height))
	b = binary.LittleEndian.AppendUint32(b, uint32(fps)) // a time step is 1/fps s
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(frames))
	return append(b, 0, 0, 0, 0)
}

func appendIVF(b []byte, n int, frame []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	return append(b, frame...)
}

// framePTS is the time of picture i.
func framePTS(i, fps int) time.Duration { return time.Duration(i) * time.Second / time.Duration(fps) }
