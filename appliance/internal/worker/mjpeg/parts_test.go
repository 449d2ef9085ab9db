package mjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// photo is a JPEG of its own for every n.
func photo(n int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range m.Pix {
		m.Pix[i] = byte(i*n + i>>3)
	}
	m.Set(0, 0, color.Gray{byte(n)})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// thumbed has another whole JPEG in a segment of its own, as cameras put a preview
// into EXIF.
func thumbed(n int) []byte {
	p, inner := photo(n), photo(n+100)
	seg := append([]byte{0xff, 0xe1, byte((len(inner) + 2) >> 8), byte(len(inner) + 2)}, inner...)
	return append(append(bytes.Clone(p[:2]), seg...), p[2:]...)
}

// all reads all pictures of a body.
func all(t *testing.T, r io.Reader, boundary string) ([][]byte, error) {
	t.Helper()
	p := newParts(r, boundary)
	var out [][]byte
	for {
		b, err := p.next()
		if err != nil {
			return out, err
		}
		out = append(out, b)
	}
}

func TestParts(t *testing.T) {
	a, b, c := photo(1), thumbed(2), photo(3)
	with := func(p []byte) string {
		return fmt.Sprintf("Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s", len(p), p)
	}
	for _, x := range []struct {
		name, boundary, body string
		want                 [][]byte
	}{
		{"by the book", "cut", "--cut\r\n" + with(a) + "\r\n--cut\r\n" + with(b) + "\r\n--cut\r\n" + with(c) + "\r\n--cut--\r\n", [][]byte{a, b, c}},
		{"declared with dashes, sent with them", "--cut", "--cut\r\n" + with(a) + "\r\n--cut\r\n" + with(b), [][]byte{a, b}},
		{"declared with dashes, sent with more", "--cut", "----cut\r\n" + with(a) + "\r\n----cut\r\n" + with(b), [][]byte{a, b}},
		{"declared without, sent without", "cut", "cut\r\n" + with(a) + "\r\ncut\r\n" + with(b), [][]byte{a, b}},
		{"not declared", "", "\r\n--other\r\n" + with(a) + "\r\n--other\r\n" + with(b), [][]byte{a, b}},
		{"declared otherwise", "cut", "--other\r\n" + with(a) + "\r\n--other\r\n" + with(b), [][]byte{a, b}},
		{"no length", "cut", "--cut\r\nContent-Type: image/jpeg\r\n\r\n" + string(a) + "\r\n--cut\r\nContent-Type: image/jpeg\r\n\r\n" + string(b) + "\r\n--cut\r\n", [][]byte{a, b}},
		{"no header but its end", "cut", "--cut\r\n\r\n" + string(a) + "\r\n--cut\r\n\r\n" + string(b), [][]byte{a, b}},
		{"no header at all", "cut", "--cut\r\n" + string(a) + "\r\n--cut\r\n" + string(b), [][]byte{a, b}},
		{"no line end behind a picture", "cut", "--cut\r\n" + with(a) + "--cut\r\n" + with(b) + "--cut\r\n", [][]byte{a, b}},
		{"lines end in one byte", "cut", "--cut\nContent-Type: image/jpeg\n\n" + string(a) + "\n--cut\nContent-type:image/jpeg\n\n" + string(b), [][]byte{a, b}},
		{"padded", "cut", "--cut\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(a)+3) + string(a) + "\x00\x00\x00\r\n--cut\r\n" + with(b), [][]byte{append(bytes.Clone(a), 0, 0, 0), b}},
		{"length too short", "cut", "--cut\r\nContent-Length: 9\r\n\r\n" + string(a) + "\r\n--cut\r\nContent-Length: 9\r\n\r\n" + string(b) + "\r\n--cut\r\nContent-Length: 9\r\n\r\n" + string(c), [][]byte{b, c}},
		{"length too long", "cut", "--cut\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(a)+20) + string(a) + "\r\n--cut\r\n" + with(b) + "\r\n--cut\r\n" + with(c), [][]byte{c}},
		{"length nonsense", "cut", "--cut\r\nContent-Length: -7\r\n\r\n" + string(a) + "\r\n--cut\r\nContent-Length: x\r\n\r\n" + string(b), [][]byte{a, b}},
		{"sound between", "cut", "--cut\r\n" + with(a) + "\r\n--cut\r\nContent-Type: audio/basic\r\nContent-Length: 5\r\n\r\nhello\r\n--cut\r\n" + with(b), [][]byte{a, b}},
		{"a picture that breaks off", "cut", "--cut\r\n\r\n" + string(a[:len(a)/2]) + "\r\n--cut\r\n\r\n" + string(b) + "\r\n--cut\r\n\r\n" + string(c), [][]byte{c}},
		{"no pictures but text", "cut", "--cut\r\n\r\nhello\r\n--cut\r\n" + with(b), [][]byte{b}},
		{"every delimiter says it is the last", "cut", "--cut--\r\n" + with(a) + "\r\n--cut--\r\n" + with(b), [][]byte{a, b}},
	} {
		t.Run(x.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":      strings.NewReader(x.body),
				"byte by byte": iotest.OneByteReader(strings.NewReader(x.body)),
			} {
				got, err := all(t, r, x.boundary)
				if len(got) != len(x.want) {
					t.Errorf("%s: %d pictures of %d, %v", how, len(got), len(x.want), err)
					continue
				}
				for i := range got {
					if !bytes.Equal(got[i], x.want[i]) {
						t.Errorf("%s: picture %d has %d bytes, want %d", how, i, len(got[i]), len(x.want[i]))
					}
				}
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errLastPart) {
					t.Errorf("%s: ended with %v", how, err)
				}
			}
		})
	}
}

// A picture is given when its last byte is there, whether its length was told or not:
// to wait for the next delimiter would be to show each one picture late.
func TestPartsAtOnce(t *testing.T) {
	for _, told := range []bool{true, false} {
		r, w := io.Pipe()
		p := newParts(r, "cut")
		for n := range 5 {
			pic := thumbed(n)
			go func() {
				head := "\r\n--cut\r\nContent-Type: image/jpeg\r\n"
				if told {
					head += fmt.Sprintf("Content-Length: %d\r\n", len(pic))
				}
				fmt.Fprintf(w, "%s\r\n%s", head, pic) // nothing behind it
			}()
			got, err := p.next()
			if err != nil || !bytes.Equal(got, pic) {
				t.Fatalf("told %v, picture %d: %d bytes, %v", told, n, len(got), err)
			}
		}
		w.Close()
	}
}

// endless repeats a text for ever, counting what was taken.
type endless struct {
	text string
	at   int
	n    int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.text[e.at%len(e.text)]
		e.at++
	}
	e.n += len(b)
	return len(b), nil
}

func TestPartsAreBounded(t *testing.T) {
	for _, x := range []struct {
		name, head, rest string
		want             error
		most             int
	}{
		{"nothing but noise", "", "x", errNoParts, 1 << 20},
		{"lines without end", "", "hello\r\n", errNoParts, 1 << 20},
		{"a header without end", "--cut\r\n", "X-More: yes\r\n", errHeaders, 1 << 20},
		{"one line of header without end", "--cut\r\n", "x", errHeaders, 64 << 20},
		{"a length beyond all", "--cut\r\nContent-Length: 99999999999\r\n\r\n", "x", errTooLarge, 1 << 20},
		{"a picture without end", "--cut\r\n\r\n" + string(photo(1)[:700]), "\x01\x02", errTooLarge, 32 << 20},
		{"segments without end", "--cut\r\n\r\n\xff\xd8", "\xff\xe1\xff\xff" + strings.Repeat("s", 65533), errTooLarge, 32 << 20},
		{"no delimiter any more", "--cut\r\n\r\n" + string(photo(1)) + "\r\n", "x\r\n", errDelimiter, 64 << 20},
	} {
		t.Run(x.name, func(t *testing.T) {
			e := &endless{text: x.rest}
			_, err := all(t, io.MultiReader(strings.NewReader(x.head), e), "cut")
			if !errors.Is(err, x.want) || e.n > x.most {
				t.Errorf("%v after %d bytes, want %v", err, e.n, x.want)
			}
		})
	}
}

func FuzzParts(f *testing.F) {
	a := photo(1)
	f.Add([]byte(fmt.Sprintf("--cut\r\nContent-Length: %d\r\n\r\n%s\r\n--cut\r\n\r\n%s\r\n--cut--\r\n", len(a), a, thumbed(2))), "cut")
	f.Add([]byte("--cut\n"+string(a)+"--cut\n\n"+string(a[:99])), "--cut")
	f.Add([]byte("\xff\xd8\xff\xff\xff\xd9"), "")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		p := newParts(bytes.NewReader(body), boundary)
		taken := 0
		for range len(body) + 1 {
			pic, err := p.next()
			if err != nil {
				return
			}
			if len(pic) < 4 || pic[0] != 0xff || pic[1] != soi || !bytes.Contains(pic, []byte{0xff, eoi}) {
				t.Fatalf("%d bytes are no JPEG", len(pic))
			}
			// No byte is given twice.
			if taken += len(pic); taken > len(body) {
				t.Fatalf("%d bytes of %d", taken, len(body))
			}
		}
		t.Fatal("it does not end")
	})
}
