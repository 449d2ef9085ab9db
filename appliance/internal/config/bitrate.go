package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Bitrate is in bits per second. In the file it is a number, or text with a
// decimal unit: 800kbit, 2Mbit, 2.5 Mbit/s, 1M.
type Bitrate int

var errBitrate = errors.New("not a bitrate")

// bitratePattern is what ParseBitrate accepts, for the schema.
const bitratePattern = `^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgG]?([bB][iI][tT]([sS])?|[bB][pP][sS])?(/s)?)\s*$`

// ParseBitrate reads a bitrate as the file writes it.
func ParseBitrate(s string) (Bitrate, error) {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.') {
		end++
	}
	if end == 0 || s[0] == '.' || s[end-1] == '.' {
		return 0, errBitrate
	}
	n, err := strconv.ParseFloat(s[:end], 64)
	if err != nil {
		return 0, errBitrate
	}
	unit := strings.ToLower(strings.TrimSpace(s[end:]))
	unit = strings.TrimSuffix(unit, "/s")
	for _, name := range []string{"bits", "bit", "bps"} {
		if cut, ok := strings.CutSuffix(unit, name); ok {
			unit = cut
			break
		}
	}
	switch unit {
	case "":
	case "k":
		n *= 1e3
	case "m":
		n *= 1e6
	case "g":
		n *= 1e9
	default:
		return 0, errBitrate
	}
	if n > math.MaxInt32 {
		return 0, errBitrate
	}
	return Bitrate(math.Round(n)), nil
}

// String writes the bitrate so that ParseBitrate reads the same back.
func (b Bitrate) String() string {
	switch {
	case b != 0 && b%1_000_000 == 0:
		return strconv.Itoa(int(b/1_000_000)) + "Mbit"
	case b != 0 && b%1000 == 0:
		return strconv.Itoa(int(b/1000)) + "kbit"
	}
	return strconv.Itoa(int(b))
}

// MarshalYAML writes what String shows.
func (b Bitrate) MarshalYAML() (any, error) {
	if b%1000 != 0 || b == 0 {
		return int(b), nil
	}
	return b.String(), nil
}
