package intake

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// SHA256Of reads the sha-256 of a digest field (RFC 9530: Repr-Digest or
// Content-Digest, a dictionary of byte sequences); nil: it holds none. Other
// algorithms are passed over, as the RFC allows. Errors: upload.ErrInvalid.
func SHA256Of(field string, lines []string) ([]byte, error) {
	var sum []byte
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		algorithm, value, _ := strings.Cut(member, "=")
		value, _, _ = strings.Cut(value, ";") // parameters mean nothing here
		value = strings.TrimRight(value, " \t")
		if len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			return nil, invalid("%s cannot be read at %.60q: give sha-256=:BASE64:", field, member)
		}
		b, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1])
		if err != nil {
			return nil, invalid("%s: the value of %.40q is not base64", field, algorithm)
		}
		if algorithm != "sha-256" {
			continue
		}
		if len(b) != 32 {
			return nil, invalid("%s: a sha-256 has 32 bytes, not %d", field, len(b))
		}
		sum = b // of several the last counts (RFC 9651, 3.2)
	}
	return sum, nil
}

// Digest writes a digest field with a sha-256.
func Digest(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// Range is a Content-Range: the bytes [From, To) of a file of Size bytes; -1: not said.
type Range struct{ From, To, Size int64 }

// ParseRange reads a Content-Range (RFC 9110, 14.4). Errors: upload.ErrInvalid.
func ParseRange(header string) (Range, error) {
	bad := func() (Range, error) {
		return Range{}, invalid("Content-Range is %.80q: give \"bytes FIRST-LAST/SIZE\", with the numbers of the first and the last byte", header)
	}
	unit, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	span, total, ok := strings.Cut(strings.TrimLeft(rest, " "), "/")
	if !strings.EqualFold(unit, "bytes") || !ok {
		return bad()
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return bad()
	}
	r := Range{Size: -1}
	var err error
	if r.From, err = decimal(first); err != nil {
		return bad()
	}
	if r.To, err = decimal(last); err != nil || r.To < r.From || r.To+1 < 0 {
		return bad()
	}
	r.To++
	if total != "*" {
		if r.Size, err = decimal(total); err != nil || r.Size < r.To {
			return bad()
		}
	}
	return r, nil
}

// decimal reads digits and nothing else: ParseInt takes signs.
func decimal(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 64)
}
