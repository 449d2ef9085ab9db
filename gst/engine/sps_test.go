package engine

import (
	"bytes"
	"strings"
	"testing"

	mathbits "math/bits"
)

// resay changes what the sequence parameter set of a unit says of the order of
// pictures. vui is its bits from vui_parameters_present_flag on (7.3.2.1.1), which
// change returns.
func resay(t *testing.T, unit []byte, change func(refs uint32) (vui string)) []byte {
	t.Helper()
	at := bytes.Index(unit, []byte{0, 0, 1, 0x67})
	if at < 0 {
		t.Fatal("no sequence parameter set in front")
	}
	from, to := at+4, len(unit)
	if n := bytes.Index(unit[from:], []byte{0, 0, 1}); n >= 0 {
		to = from + len(bytes.TrimRight(unit[from:from+n], "\x00"))
	}
	b := bytes.ReplaceAll(unit[from:to], []byte{0, 0, 3}, []byte{0, 0})
	var bits strings.Builder
	for _, c := range b {
		for i := 7; i >= 0; i-- {
			bits.WriteByte('0' + c>>i&1)
		}
	}
	rest := bits.String()
	at = 24
	ue := func() (v uint32) {
		zeros := strings.IndexByte(rest[at:], '1')
		for _, c := range rest[at+zeros : at+2*zeros+1] {
			v = v<<1 | uint32(c-'0')
		}
		at += 2*zeros + 1
		return v - 1
	}
	ue()
	if b[0] == 100 { // 4:2:0, 8 bit, no scaling lists: what encoders make of I420
		ue()
		ue()
		ue()
		at += 2
	}
	ue()
	if order := ue(); order == 0 {
		ue()
	}
	refs := ue()
	at++
	ue()
	ue()
	at += 2
	if at++; rest[at-1] == '1' {
		ue()
		ue()
		ue()
		ue()
	}
	text := rest[:at] + change(refs) + "1"
	text += strings.Repeat("0", (8-len(text)%8)%8)
	var set []byte
	zeros := 0
	for ; text != ""; text = text[8:] {
		var c byte
		for _, d := range text[:8] {
			c = c<<1 | byte(d-'0')
		}
		if zeros >= 2 && c <= 3 {
			set, zeros = append(set, 3), 0
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		set = append(set, c)
	}
	return append(append(bytes.Clone(unit[:from]), set...), unit[to:]...)
}

// golomb is an Exp-Golomb code.
func golomb(v uint32) string {
	var s strings.Builder
	n := mathbits.Len32(v + 1)
	s.WriteString(strings.Repeat("0", n-1))
	for i := n - 1; i >= 0; i-- {
		s.WriteByte('0' + byte((v+1)>>i&1))
	}
	return s.String()
}

// silent says nothing of the order; reordering says that up to two pictures may come
// ahead of one that is shown before them.
func silent(uint32) string { return "0" }

func reordering(refs uint32) string {
	return "1" + "00000000" + "11" + golomb(2) + golomb(1) + golomb(16) + golomb(16) + golomb(2) + golomb(max(refs, 2))
}
