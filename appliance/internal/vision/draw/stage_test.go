package draw

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

const guard = 0xA5

// sheet is a picture in memory with guard bytes around and between its rows.
type sheet struct {
	vision.Picture
	whole [3][]byte
}

// newSheet makes a picture whose rows are pad bytes longer than they need be.
func newSheet(f vision.Format, w, h, pad int) *sheet {
	s := &sheet{Picture: vision.Picture{Format: f, Width: w, Height: h}}
	cw, ch := (w+1)/2, (h+1)/2
	plane := func(i, w, h int) {
		s.Stride[i] = w + pad
		n := s.Stride[i]*(h-1) + w
		s.whole[i] = bytes.Repeat([]byte{guard}, n+128)
		s.Planes[i] = s.whole[i][64 : 64+n]
	}
	plane(0, w, h)
	if f == vision.NV12 {
		plane(1, 2*cw, ch)
	} else {
		plane(1, cw, ch)
		plane(2, cw, ch)
	}
	return s
}

// each calls f for every sample of every plane, the guards included.
func (s *sheet) each(f func(plane int, b *byte, visible bool)) {
	for i, whole := range s.whole {
		w := s.Width
		if i > 0 {
			if w = (w + 1) / 2; s.Format == vision.NV12 {
				w *= 2
			}
		}
		for n := range whole {
			in := n >= 64 && n < len(whole)-64 && (n-64)%s.Stride[i] < w
			f(i, &whole[n], in)
		}
	}
}

// intact fails the test if a byte was written that is not of the picture.
func (s *sheet) intact(t *testing.T) {
	t.Helper()
	bad := 0
	s.each(func(_ int, b *byte, visible bool) {
		if !visible && *b != guard {
			bad++
		}
	})
	if bad > 0 {
		t.Fatalf("%d bytes written outside the %dx%d picture", bad, s.Width, s.Height)
	}
}

// paint sets every pixel from f, by the matrix of the picture's height.
func (s *sheet) paint(f func(x, y int) color.Color) {
	for y := range s.Height {
		for x := range s.Width {
			r, g, b, _ := f(x, y).RGBA()
			c := convert(Colour{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}, s.Height)
			s.Planes[0][y*s.Stride[0]+x] = c.y
			if x%2 == 0 && y%2 == 0 {
				chroma(&s.Picture, x/2, y/2, c, 256)
			}
		}
	}
}

// rgb is the picture as a player shows it.
func (s *sheet) rgb() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, s.Width, s.Height))
	kr, kb := 0.299, 0.114
	if s.Height > 576 {
		kr, kb = 0.2126, 0.0722
	}
	for y := range s.Height {
		for x := range s.Width {
			l := (float64(s.Planes[0][y*s.Stride[0]+x]) - 16) / 219
			var u, v float64
			if s.Format == vision.NV12 {
				at := y/2*s.Stride[1] + x&^1
				u, v = float64(s.Planes[1][at]), float64(s.Planes[1][at+1])
			} else {
				u = float64(s.Planes[1][y/2*s.Stride[1]+x/2])
				v = float64(s.Planes[2][y/2*s.Stride[2]+x/2])
			}
			u, v = (u-128)/224, (v-128)/224
			r, b := l+2*(1-kr)*v, l+2*(1-kb)*u
			g := (l - kr*r - kb*b) / (1 - kr - kb)
			out.SetRGBA(x, y, color.RGBA{level(r), level(g), level(b), 255})
		}
	}
	return out
}

func level(v float64) uint8 { return uint8(math.Min(math.Max(v*255+0.5, 0), 255)) }

// backdrop fills the sheet with smooth and busy, dark and bright parts.
func (s *sheet) backdrop() {
	s.paint(func(x, y int) color.Color {
		fx, fy := float64(x)/float64(s.Width), float64(y)/float64(s.Height)
		busy := uint8(0)
		if fx > 0.5 && (int(fx*160)+int(fy*90))%2 == 0 {
			busy = 90
		}
		return color.RGBA{uint8(230*fy) + busy/4, uint8(200*fx*fy) + busy/2, uint8(255*(1-fy)*fx/2) + busy/3, 255}
	})
}

// photo loads one of the media pictures, scaled to the sheet; false if absent.
func (s *sheet) photo(t testing.TB, name string) bool {
	root := os.Getenv("WATCHPOST_MEDIA")
	for dir, _ := os.Getwd(); root == "" && len(dir) > 1; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			root = filepath.Join(dir, "../shared/media")
		}
	}
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return false
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	s.paint(func(x, y int) color.Color {
		return img.At(b.Min.X+x*b.Dx()/s.Width, b.Min.Y+y*b.Dy()/s.Height)
	})
	return true
}

// save writes the picture into the folder named by WATCHPOST_LOOK, for people
// who want to see it.
func (s *sheet) save(t testing.TB, name string) {
	dir := os.Getenv("WATCHPOST_LOOK")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, s.rgb()); err != nil {
		t.Fatal(err)
	}
}
