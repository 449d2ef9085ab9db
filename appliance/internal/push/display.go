package push

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Display shows the progress of several files: on a terminal a line each that is
// written over, elsewhere a line whenever a file comes to another stage.
type Display struct {
	w       io.Writer
	columns func() int // of the terminal; nil: it is none
	mu      sync.Mutex
	order   []string
	files   map[string]Progress
	drawn   int // lines on the terminal that are ours
	last    time.Time
}

// NewDisplay writes to w; columns is nil where w is no terminal.
func NewDisplay(w io.Writer, columns func() int) *Display {
	return &Display{w: w, columns: columns, files: map[string]Progress{}}
}

// Watch is for Options.Watch.
func (d *Display) Watch(p Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, known := d.files[p.File]
	if !known {
		d.order = append(d.order, p.File)
	}
	d.files[p.File] = p
	changed := !known || before.Stage != p.Stage || fmt.Sprint(before.Err) != fmt.Sprint(p.Err)
	if d.columns == nil {
		// A rate is not known yet, and failures are told together at the end.
		if changed && p.Stage != Sending && p.Stage != Failed {
			fmt.Fprintln(d.w, line(p, 0))
		}
		return
	}
	if now := time.Now(); changed || now.Sub(d.last) >= 100*time.Millisecond {
		d.last = now
		d.draw()
	}
}

// draw writes our lines over those of last time. Lines of files that are through
// scroll away for good, so that there are never more than are on their way.
func (d *Display) draw() {
	var out strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", d.drawn)
	}
	width := max(40, d.columns())
	var live []string
	for _, f := range d.order {
		p := d.files[f]
		if p.Stage == Done || p.Stage == Failed {
			fmt.Fprintf(&out, "\x1b[2K%s\n", line(p, width))
			delete(d.files, f)
		} else {
			live = append(live, f)
		}
	}
	d.order = live
	d.drawn = 0
	queued := 0
	for _, f := range live {
		p := d.files[f]
		if p.Stage == Analysing && p.Remark != "" {
			queued++ // a line for each might not fit on the screen
			continue
		}
		fmt.Fprintf(&out, "\x1b[2K%s\n", line(p, width))
		d.drawn++
	}
	if queued > 0 {
		fmt.Fprintf(&out, "\x1b[2K%s\n", clip(fmt.Sprintf("%d files on the box wait for their analysis", queued), width-1))
		d.drawn++
	}
	out.WriteString("\x1b[J")
	_, _ = io.WriteString(d.w, out.String()) // a display that is gone costs no file
}

// line is one file's line, at most width columns (0: any).
func line(p Progress, width int) string {
	name := printable(filepath.Base(p.File))
	var what string
	switch p.Stage {
	case Sending:
		what = fmt.Sprintf("%s %3d%%  %s of %s  %s/s", bar(p.Sent, p.Size), percent(p.Sent, p.Size), amount(p.Sent), amount(p.Size), amount(int64(p.Rate)))
		if p.Left > 0 {
			what += "  " + p.Left.Round(time.Second).String() + " left"
		}
	case Analysing:
		what = fmt.Sprintf("analysing %3.0f%%", p.Percent)
		if p.FPS > 0 {
			what += fmt.Sprintf("  %.1f frames/s", p.FPS)
		}
		if p.Remark != "" {
			what += "  " + printable(p.Remark)
		}
	case Waiting, Failed:
		what = string(p.Stage)
		if p.Err != nil {
			what += ": " + printable(p.Err.Error())
		}
	default:
		what = string(p.Stage)
	}
	const nameColumns = 32
	if width == 0 {
		return name + ": " + what
	}
	return clip(fmt.Sprintf("%-*s %s", nameColumns, clip(name, nameColumns), what), width-1)
}

func bar(n, of int64) string {
	const cells = 20
	full := 0
	if of > 0 {
		full = int(min(n, of) * cells / of)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
}

func percent(n, of int64) int64 {
	if of <= 0 {
		return 0
	}
	return min(n, of) * 100 / of
}

// amount is a number of bytes for a person.
func amount(n int64) string {
	const units = "KMGT"
	v, unit := float64(n), ""
	for i := 0; v >= 1000 && i < len(units); i++ {
		v, unit = v/1024, units[i:i+1]+"i"
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %sB", v, unit)
}

// printable keeps a name or a remark from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func clip(s string, columns int) string {
	r := []rune(s)
	if len(r) <= columns {
		return s
	}
	return string(r[:columns-1]) + "…"
}
