package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchpost/watchpost/gst/plan"
)

// withMatrix is a film whose first video track has another matrix.
func withMatrix(t testing.TB, data []byte, m [4]int32) []byte {
	t.Helper()
	data = bytes.Clone(data)
	at := bytes.Index(data, []byte("tkhd"))
	if at < 0 || data[at+4] != 0 {
		t.Fatal("no track header of version 0 in it")
	}
	at += 4 + 40
	for i, v := range map[int]int32{0: m[0], 1: m[1], 3: m[2], 4: m[3]} {
		binary.BigEndian.PutUint32(data[at+4*i:], uint32(v)<<16)
	}
	return data
}

// luma is the first frame's, copied without padding.
func luma(t testing.TB, src plan.Source) (w, h int, y []byte, info Info) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Read(ctx, src, Handlers{
		Info: func(i Info) { info = i },
		Frame: func(f *Frame) {
			defer f.Release()
			if y != nil {
				return
			}
			defer cancel() // one is enough
			w, h = f.Width, f.Height
			for r := range h {
				y = append(y, f.Planes[0][r*f.Stride[0]:r*f.Stride[0]+w]...)
			}
		},
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return w, h, y, info
}

func TestMatrix(t *testing.T) {
	for _, name := range []string{"rot_0.mov", "face_h264.mp4"} {
		data, err := os.ReadFile(filepath.Join(media(t), "video", name))
		if err != nil {
			t.Fatal(err)
		}
		w0, h0, y0, _ := luma(t, plan.Source{URL: filepath.Join(media(t), "video", name)})
		for _, tc := range []struct {
			m        [4]int32 // a b c d
			degrees  int
			mirrored bool
		}{
			{[4]int32{1, 0, 0, 1}, 0, false},
			{[4]int32{0, 1, -1, 0}, 90, false},
			{[4]int32{-1, 0, 0, -1}, 180, false},
			{[4]int32{0, -1, 1, 0}, 270, false},
			{[4]int32{-1, 0, 0, 1}, 0, true},
			{[4]int32{0, -1, -1, 0}, 90, true},
			{[4]int32{1, 0, 0, -1}, 180, true},
			{[4]int32{0, 1, 1, 0}, 270, true},
			{[4]int32{1, 1, 0, 1}, 0, false}, // a shear is left alone
		} {
			file := filepath.Join(t.TempDir(), "film")
			turned := withMatrix(t, data, tc.m)
			if err := os.WriteFile(file, turned, 0o644); err != nil {
				t.Fatal(err)
			}
			sources := []plan.Source{{URL: file}}
			if name == "face_h264.mp4" {
				sources = append(sources, plan.Source{URL: file, FD: pour(t, bytes.NewReader(turned), 3000)})
			}
			for _, src := range sources {
				w, h, y, info := luma(t, src)
				a, b, c, d := int(tc.m[0]), int(tc.m[1]), int(tc.m[2]), int(tc.m[3])
				if a == 1 && b == 1 {
					b = 0
				}
				if b != 0 && (w != h0 || h != w0) || b == 0 && (w != w0 || h != h0) {
					t.Fatalf("%s %v: %dx%d became %dx%d", name, tc.m, w0, h0, w, h)
				}
				if info.Rotation != tc.degrees || info.Mirrored != tc.mirrored {
					t.Errorf("%s %v: turned by %d, mirrored %t", name, tc.m, info.Rotation, info.Mirrored)
				}
				// Where the matrix puts a pixel, moved to where the picture is.
				off := func(p, q int) int { // what is negative begins at the far end
					n := 0
					if p < 0 {
						n += w0 - 1
					}
					if q < 0 {
						n += h0 - 1
					}
					return n
				}
				wrong := 0
				for sy := range h0 {
					for sx := range w0 {
						x, yy := a*sx+c*sy+off(a, c), b*sx+d*sy+off(b, d)
						if y[yy*w+x] != y0[sy*w0+sx] {
							wrong++
						}
					}
				}
				if wrong > 0 {
					t.Errorf("%s %v, as a stream %t: %d of %d pixels are not where they belong", name, tc.m, src.FD > 0, wrong, w*h)
				}
			}
		}
	}
}
