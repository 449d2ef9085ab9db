package draw

import (
	"bytes"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Colours of the slate: dark enough for a wall of screens at night.
var (
	night  = Colour{17, 21, 29, 255}
	steel  = Colour{52, 62, 80, 255}
	paper  = Colour{232, 236, 242, 255}
	amber  = Colour{245, 176, 66, 255}
	silver = Colour{150, 160, 176, 255}
	slateG = Colour{104, 114, 132, 255}
)

const (
	// turn is how long the slate's pointer takes for a round.
	turn = 4 * time.Second
	// maxReasonLines is how many lines of the reason are shown.
	maxReasonLines = 4
)

// Slate fills the picture with what viewers see while there is none of the
// camera: its name, since when (zero: not known), why, and the time of day
// beside a turning pointer, which show that the stream itself lives. Times are
// shown in the zone of now. Call it for every frame with the time of the frame.
func (a *Artist) Slate(p *vision.Picture, title, reason string, since, now time.Time) {
	if !sound(p) {
		return
	}
	a.Fill(p, night)
	u := min(p.Height, p.Width*9/16)
	big, mid, small := max(u/11, 9), max(u/19, 8), max(u/24, 8)
	room := p.Width * 84 / 100
	radius := max(float64(u)/15, 3)

	a.text = append(a.text[:0], reason...)
	lines := a.wrap(small, room, maxReasonLines)
	rowBig, rowMid, rowSmall := a.row(big), a.row(mid), a.row(small)
	gap := rowMid / 2
	height := int(2*radius) + gap + rowBig + rowMid + gap + lines*rowSmall
	y := max((p.Height-height)*46/100, 0)

	a.dial(p, float64(p.Width)/2, float64(y)+radius, radius, now)
	y += int(2*radius) + gap

	a.text = a.ellipsis(append(a.text[:0], title...), big, room)
	a.centred(p, y, big, a.text, paper)
	y += rowBig
	a.text = a.ellipsis(appendSince(a.text[:0], since, now), mid, room)
	a.centred(p, y, mid, a.text, amber)
	y += rowMid + gap

	a.text = append(a.text[:0], reason...)
	a.wrap(small, room, maxReasonLines)
	for i, l := range a.lines {
		if y+rowSmall > p.Height {
			break
		}
		a.centred(p, y, small, a.line(i, small, p.Width, l), silver)
		y += rowSmall
	}
	if foot := p.Height - rowSmall*3/2; foot >= y {
		a.text = now.AppendFormat(a.text[:0], "15:04:05")
		a.centred(p, foot, small, a.text, slateG)
	}
}

// row is the height of a line of text.
func (a *Artist) row(size int) int {
	if at := a.face.at(size); at != nil {
		return at.ascent + at.descent + size/8
	}
	return size
}

func (a *Artist) centred(p *vision.Picture, y, size int, s []byte, c Colour) {
	at := a.face.at(size)
	if at == nil {
		return
	}
	a.write(p, (p.Width-at.width(s))/2, y, size, s, convert(c, p.Height))
}

// ellipsis shortens a text that is wider than room.
func (a *Artist) ellipsis(s []byte, size, room int) []byte {
	at := a.face.at(size)
	if at == nil || at.width(s) <= room {
		return s
	}
	n := at.cut(s, room-at.step('…').Ceil())
	return append(s[:n], "…"...)
}

// line is the wrapped text's line l, number i; the last one tells by an ellipsis
// that the text goes on.
func (a *Artist) line(i, size, room int, l [2]int) []byte {
	end := l[1]
	if i == len(a.lines)-1 && len(bytes.TrimSpace(a.text[end:])) > 0 {
		a.text = append(a.text[:end], " …"...)
		return a.ellipsis(a.text[l[0]:], size, room)
	}
	return a.text[l[0]:end]
}

// wrap breaks a.text into at most that many a.lines that fit into room, at spaces
// where there are any, and returns how many there are.
func (a *Artist) wrap(size, room, most int) int {
	a.lines = a.lines[:0]
	at := a.face.at(size)
	if at == nil {
		return 0
	}
	s := a.text
	for from := 0; from < len(s) && len(a.lines) < most; {
		if s[from] == ' ' || s[from] == '\n' {
			from++
			continue
		}
		end := from + at.cut(s[from:], room)
		if end == from { // not even one character: show it all the same
			_, n := utf8.DecodeRune(s[from:])
			end += n
		}
		if end < len(s) && s[end] != ' ' {
			for k := end; k > from; k-- {
				if s[k-1] == ' ' {
					end = k - 1
					break
				}
			}
		}
		for k := from; k < end; k++ {
			if s[k] == '\n' {
				end = k
			}
		}
		a.lines = append(a.lines, [2]int{from, end})
		from = end
	}
	return len(a.lines)
}

// appendSince appends "offline since 14:03:12 (2 min)", with the date where that
// was on another day.
func appendSince(dst []byte, since, now time.Time) []byte {
	dst = append(dst, "offline"...)
	if since.IsZero() {
		return dst
	}
	since = since.In(now.Location())
	layout := "15:04:05"
	if y, m, d := since.Date(); !sameDay(y, int(m), d, now) {
		layout = "2 Jan 15:04"
	}
	dst = since.AppendFormat(append(dst, " since "...), layout)
	dst = append(dst, " ("...)
	return append(appendSpan(dst, now.Sub(since)), ')')
}

func sameDay(y, m, d int, t time.Time) bool {
	ty, tm, td := t.Date()
	return y == ty && m == int(tm) && d == td
}

// appendSpan appends how long something has lasted, as people say it.
func appendSpan(dst []byte, d time.Duration) []byte {
	d = max(d, 0)
	n := func(v time.Duration, unit string) {
		dst = strconv.AppendInt(dst, int64(v), 10)
		dst = append(dst, unit...)
	}
	switch {
	case d < time.Minute:
		n(d/time.Second, " s")
	case d < time.Hour:
		n(d/time.Minute, " min")
	case d < 48*time.Hour:
		n(d/time.Hour, " h")
		if m := d % time.Hour / time.Minute; m > 0 {
			dst = append(dst, ' ')
			n(m, " min")
		}
	default:
		n(d/(24*time.Hour), " days")
	}
	return dst
}

// dial draws a ring around which a dot with a fading trail goes.
func (a *Artist) dial(p *vision.Picture, cx, cy, radius float64, now time.Time) {
	thick := math.Max(radius/9, 1)
	a.ring(p, cx, cy, radius-thick, thick, convert(steel, p.Height))
	part := float64(now.UnixNano()%int64(turn)) / float64(turn)
	for k := 7; k >= 0; k-- {
		angle := 2*math.Pi*(part-float64(k)*0.022) - math.Pi/2
		c := amber
		c.A = uint8(255 >> k)
		size := thick * (1.9 - 0.12*float64(k))
		x, y := cx+(radius-thick)*math.Cos(angle), cy+(radius-thick)*math.Sin(angle)
		a.ring(p, x, y, 0, size, convert(c, p.Height))
	}
}

// ring paints everything that is at most thick away from a circle around cx, cy,
// edges smoothed; radius 0 is a disc.
func (a *Artist) ring(p *vision.Picture, cx, cy, radius, thick float64, c yuv) {
	reach := radius + thick + 1
	x0, y0 := int(math.Floor(cx-reach)), int(math.Floor(cy-reach))
	n := int(math.Ceil(2*reach)) + 1
	if n > 1<<12 {
		return
	}
	if cap(a.mask) < n*n {
		a.mask = make([]uint8, n*n)
	}
	mask := a.mask[:n*n]
	for y := range n {
		for x := range n {
			dx, dy := float64(x0+x)+0.5-cx, float64(y0+y)+0.5-cy
			d := math.Sqrt(dx*dx + dy*dy)
			cover := thick + 0.5 - math.Abs(d-radius)
			mask[y*n+x] = uint8(255 * math.Min(math.Max(cover, 0), 1))
		}
	}
	stamp(p, x0, y0, mask, n, n, c)
}
