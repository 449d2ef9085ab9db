package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In the file it is a number, or text with a unit:
// 512MiB, 20GiB (powers of 1024), 4GB (powers of 1000).
type Size int64

var errSize = errors.New("not a size")

// sizePattern is what ParseSize accepts, for the schema.
const sizePattern = `^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]([iI])?)?[bB]?\s*$`

// sizeUnits are the factors of a unit's letter.
var sizeUnits = []struct {
	letter          string
	binary, decimal float64
}{
	{"t", 1 << 40, 1e12},
	{"g", 1 << 30, 1e9},
	{"m", 1 << 20, 1e6},
	{"k", 1 << 10, 1e3},
}

// ParseSize reads a size as the file writes it.
func ParseSize(s string) (Size, error) {
	s = strings.TrimSpace(s)
	number := strings.TrimRight(s, "kKmMgGtTiIbB ")
	if number == "" || number[0] == '.' || strings.HasSuffix(number, ".") || strings.ContainsAny(number, "eExXpP+-_nN") {
		return 0, errSize
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errSize
	}
	unit := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s[len(number):])), "b")
	factor := 1.0
	if unit != "" {
		factor = 0
		for _, u := range sizeUnits {
			switch unit {
			case u.letter + "i":
				factor = u.binary
			case u.letter:
				factor = u.decimal
			}
		}
		if factor == 0 {
			return 0, errSize
		}
	}
	if n *= factor; n >= math.MaxInt64 {
		return 0, errSize
	}
	return Size(math.Round(n)), nil
}

// String writes the size so that ParseSize reads the same back.
func (b Size) String() string {
	for _, u := range sizeUnits {
		if n := int64(u.binary); b != 0 && int64(b)%n == 0 {
			return strconv.FormatInt(int64(b)/n, 10) + strings.ToUpper(u.letter) + "iB"
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalYAML writes what String shows.
func (b Size) MarshalYAML() (any, error) {
	if b%(1<<10) != 0 || b == 0 {
		return int64(b), nil
	}
	return b.String(), nil
}
