package accel

import (
	"math"
	"testing"
)

// TestHalf: every half survives the way to float32 and back, and what lies
// between two is rounded to the even one.
func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := fromHalf(h)
		if f != f {
			if got := fromHalf(toHalf(f)); got == got {
				t.Fatalf("NaN %#04x became %v", h, got)
			}
			continue
		}
		if got := toHalf(f); got != h {
			t.Fatalf("%#04x → %v → %#04x", h, f, got)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		mid := (float64(f) + float64(fromHalf(h+1))) / 2
		want := h + h&1
		if got := toHalf(float32(mid)); got != want {
			t.Fatalf("halfway %v between %#04x and the next → %#04x, want %#04x", mid, h, got, want)
		}
	}
	if got := toHalf(float32(math.Inf(1))); got != 0x7c00 {
		t.Errorf("Inf → %#04x", got)
	}
	if got := toHalf(1e6); got != 0x7c00 {
		t.Errorf("1e6 → %#04x", got)
	}
}
