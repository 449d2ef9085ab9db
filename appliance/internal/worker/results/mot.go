package results

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// mot writes tracks.mot.txt, the MOT Challenge's text format for results
// (https://motchallenge.net/instructions/), one line a box, in the order of frames
// and then of tracks:
//
//	frame, id, left, top, width, height, confidence, -1, -1, -1
//
// Frames and tracks count from 1, and so do pixels: the top left corner of the
// picture is 1,1. Frames that were not analysed have no lines.
type mot struct{ w *bufio.Writer }

func newMOT(to io.Writer) *mot { return &mot{w: buffered(to)} }

func (m *mot) line(l Line) {
	for _, o := range l.Objects {
		fmt.Fprintf(m.w, "%d,%d,%s,%s,%s,%s,%s,-1,-1,-1\n", l.Frame, o.ID,
			pixels(float64(o.X0)+1), pixels(float64(o.Y0)+1), pixels(float64(o.X1)-float64(o.X0)), pixels(float64(o.Y1)-float64(o.Y0)),
			strconv.FormatFloat(float64(o.Score), 'g', -1, 32))
	}
}
