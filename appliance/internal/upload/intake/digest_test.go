package intake

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/upload"
)

func TestDigests(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	mine := Digest(sum[:])
	for _, lines := range [][]string{
		{mine}, {"sha-512=:AAAA:, " + mine}, {"sha-512=:AAAA:", mine}, {mine + ";p=1"}, {"  " + mine + " ,"},
		{Digest(make([]byte, 32)), mine}, // of several the last counts
	} {
		if got, err := SHA256Of("Repr-Digest", lines); err != nil || !bytes.Equal(got, sum[:]) {
			t.Errorf("%v: %x, %v", lines, got, err)
		}
	}
	for _, lines := range [][]string{nil, {""}, {"sha-512=:AAAA:"}, {"SHA-256=:AAAA:"}} {
		if got, err := SHA256Of("Repr-Digest", lines); err != nil || got != nil {
			t.Errorf("%v: %x, %v; want nothing", lines, got, err)
		}
	}
	for _, line := range []string{"sha-256", "sha-256=abc", "sha-256=:a:", "sha-256=:AAAA:", "sha-256=::", ":", "=:", "sha-256=\"a,b\""} {
		if got, err := SHA256Of("Repr-Digest", []string{line}); !errors.Is(err, upload.ErrInvalid) || !strings.Contains(err.Error(), "Repr-Digest") {
			t.Errorf("%q: %x, %v", line, got, err)
		}
	}
}

func TestRanges(t *testing.T) {
	for header, want := range map[string]Range{
		"bytes 0-0/1": {0, 1, 1}, "bytes 10-19/*": {10, 20, -1}, "Bytes  5-9/100": {5, 10, 100},
		"bytes 0-9223372036854775805/9223372036854775806": {0, 9223372036854775806, 9223372036854775806},
	} {
		if got, err := ParseRange(header); err != nil || got != want {
			t.Errorf("%s: %+v, %v", header, got, err)
		}
	}
	for _, header := range []string{
		"", "bytes", "bytes 0-1", "bytes */5", "bytes -1/5", "bytes 1-/5", "bytes 2-1/5", "bytes 0-5/5", "items 0-1/5", "bytes +0-1/5",
		"bytes 0-1/+5", "bytes 0 -1/5", "bytes 0-9223372036854775807/*", "bytes 0-99999999999999999999/*", "bytes 0-1/5/6",
	} {
		if got, err := ParseRange(header); !errors.Is(err, upload.ErrInvalid) {
			t.Errorf("%q: %+v, %v", header, got, err)
		}
	}
}

func FuzzDigest(f *testing.F) {
	for _, s := range []string{"sha-256=:AAAA:", Digest(make([]byte, 32)), "a=1;b, c", "=::", ","} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		sum, err := SHA256Of("X", []string{line})
		if err != nil && !errors.Is(err, upload.ErrInvalid) || sum != nil && len(sum) != 32 {
			t.Errorf("%q: %x, %v", line, sum, err)
		}
		if sum != nil {
			if again, err := SHA256Of("X", []string{Digest(sum)}); err != nil || !bytes.Equal(again, sum) {
				t.Errorf("%x does not survive being written", sum)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 1-2/*", "bytes */3", "bytes 9223372036854775807-9223372036854775807/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, err := ParseRange(header)
		if err != nil {
			if !errors.Is(err, upload.ErrInvalid) {
				t.Errorf("%q: %v", header, err)
			}
			return
		}
		if r.From < 0 || r.To <= r.From || r.Size >= 0 && r.Size < r.To {
			t.Fatalf("%q: %+v", header, r)
		}
		total := "*"
		if r.Size >= 0 {
			total = fmt.Sprint(r.Size)
		}
		if again, err := ParseRange(fmt.Sprintf("bytes %d-%d/%s", r.From, r.To-1, total)); err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", header, r, again, err)
		}
	})
}
