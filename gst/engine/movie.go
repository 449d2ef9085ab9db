package engine

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// movie reads of the index of an MP4 or MOV (ISO/IEC 14496-12), as its bytes come
// by, what GStreamer (1.22) does not: how tracks are mirrored, and which parts of them
// are shown, which the engine then sees to itself (takeEdits). And it takes the
// movie's duration out of the header: GStreamer's demuxer, where it cannot seek,
// ends a track at that duration though its edit list has moved the track: the last
// pictures are missing, and, as it loses count of the bytes over it, sometimes most
// of the film. Bytes of anything else pass as they are.
type movie struct {
	// anywhere: the index may follow the pictures.
	anywhere bool

	held    []byte
	skip    int64 // bytes to pass before the next box begins
	at, end int64 // how far boxes were looked at; where moov ends, 0: before it
	started bool
	done    bool // nothing more to see

	mu     sync.Mutex
	lasts  time.Duration
	scale  uint32 // ticks in a second
	matrix matrix // of the movie
	tracks []movieTrack
	// late: the pictures come before the header. GStreamer's demuxer would keep all
	// of them in memory until it comes.
	late bool
	// patches are the changes, where the bytes do not come by.
	patches []patch
}

// patch is bytes of a file that are to be read differently.
type patch struct {
	at   int64
	data []byte
}

type movieTrack struct {
	matrix matrix
	scale  uint32 // ticks in a second
	edits  []edit // that the engine applies
	video  bool
}

// maxMovieTracks bounds what a hostile file can have kept of it.
const maxMovieTracks = 64

// First boxes by which an MP4 or MOV is known.
var firstBoxes = []string{"ftyp", "styp", "moov", "moof", "mdat", "free", "skip", "wide", "pnot", "uuid", "sidx"}

// scanMovie reads the index of a whole file.
func scanMovie(r io.ReaderAt) *movie {
	m := &movie{anywhere: true}
	for n := 0; n < 100_000 && !m.done; n++ {
		b := make([]byte, boxNeed)
		got, err := r.ReadAt(b, m.at)
		if got < len(b) && err != io.EOF {
			break
		}
		if _, enough := m.box(b[:got]); !enough {
			break
		}
		m.at += m.skip
		m.skip = 0
	}
	return m
}

// pass takes the next bytes and returns what may go on; end: they are the last.
// What it returns is valid until the next call.
func (m *movie) pass(b []byte, end bool) []byte {
	if m.done && len(m.held) == 0 {
		return b
	}
	m.held = append(m.held, b...)
	out := 0
	for !m.done && out < len(m.held) {
		rest := m.held[out:]
		if m.skip > 0 {
			n := min(m.skip, int64(len(rest)))
			m.skip -= n
			m.at += n
			out += int(n)
			continue
		}
		n, enough := m.box(rest)
		if !enough {
			break
		}
		out += n
	}
	if m.done || end {
		out = len(m.held)
	}
	passed := m.held[:out:out]
	m.held = slices.Clone(m.held[out:])
	return passed
}

// boxNeed is the most that box wants to see of a box: the headers of movie and
// track up to their matrix, and whole edit lists, which are longer.
const boxNeed = 16 + 8 + 20*maxEdits

// box looks at a box at its beginning and returns how much of it may pass; skip is
// what follows unseen. Not enough: more bytes are needed to tell.
func (m *movie) box(b []byte) (pass int, enough bool) {
	if m.end > 0 && m.at >= m.end {
		m.done = true
		return 0, true
	}
	if len(b) < 16 {
		// The last boxes may be as short; then there is nothing in them.
		return 0, false
	}
	size, kind := int64(binary.BigEndian.Uint32(b)), string(b[4:8])
	head := int64(8)
	if size == 1 {
		head = 16
		if large := binary.BigEndian.Uint64(b[8:]); large <= math.MaxInt64-uint64(m.at) {
			size = int64(large)
		}
	}
	if !m.started && !slices.Contains(firstBoxes, kind) || size < head {
		m.done = true
		return 0, true
	}
	m.started = true
	switch {
	case kind == "mdat" && m.end == 0 && !m.anywhere:
		m.mu.Lock()
		m.late = true
		m.mu.Unlock()
		m.done = true
		return 0, true
	case kind == "moov":
		m.end = m.at + size
		size = head
	case m.end > 0 && (kind == "trak" || kind == "edts" || kind == "mdia"):
		if kind == "trak" {
			m.addTrack()
		}
		size = head
	case m.end > 0 && slices.Contains(headers, kind):
		if int64(len(b)) < min(boxNeed, size) {
			return 0, false
		}
		m.change(kind, m.at+head, b[head:min(boxNeed, size)])
	}
	m.at += head
	m.skip = size - head
	return int(head), true
}

func (m *movie) addTrack() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.tracks) < maxMovieTracks {
		m.tracks = append(m.tracks, movieTrack{})
	} else {
		m.done = true
	}
}

// headers are the boxes that header reads.
var headers = []string{"mvhd", "tkhd", "elst", "mdhd", "hdlr"}

// change reads a header at its place in the file, and notes what became of it.
func (m *movie) change(kind string, at int64, b []byte) {
	was := slices.Clone(b)
	m.header(kind, b)
	if m.anywhere && !slices.Equal(was, b) {
		m.patches = append(m.patches, patch{at, slices.Clone(b)})
	}
}

// header reads the headers of the movie (clause 8.2.2), whose duration it takes
// out, of a track (8.3.2), of its edits (8.6.6) and of its medium (8.4.2, 8.4.3).
func (m *movie) header(kind string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dates := 8
	if len(b) > 0 && b[0] == 1 {
		dates = 16
	}
	switch n := len(m.tracks); {
	case kind == "mvhd":
		at := 4 + dates // of the time scale
		if len(b) >= at+4+dates/2 {
			m.scale = binary.BigEndian.Uint32(b[at:])
			m.lasts = takeDuration(b[at:], dates/2)
		}
		m.matrix = readMatrix(b, at+4+dates/2+16)
	case n == 0:
	case kind == "tkhd":
		m.tracks[n-1].matrix = readMatrix(b, 4+dates+8+dates/2+16)
	case kind == "elst" && m.tracks[n-1].edits == nil:
		m.tracks[n-1].edits = takeEdits(b)
	case kind == "mdhd" && len(b) >= 4+dates+4:
		m.tracks[n-1].scale = binary.BigEndian.Uint32(b[4+dates:])
	case kind == "hdlr" && len(b) >= 12:
		m.tracks[n-1].video = string(b[8:12]) == "vide"
	}
}

// takeDuration reads a duration of width bytes behind its time scale, and sets it
// to 0: not known.
func takeDuration(b []byte, width int) time.Duration {
	scale, duration := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if width == 8 {
		duration = binary.BigEndian.Uint64(b[4:])
	} else if duration == math.MaxUint32 {
		duration = 0
	}
	clear(b[4 : 4+width])
	if scale == 0 || duration/scale >= 1<<30 {
		return 0
	}
	rest := time.Duration(duration%scale) * time.Second / time.Duration(scale)
	return time.Duration(duration/scale)*time.Second + rest
}

// duration is that of the movie, as its header has it; 0: not known.
func (m *movie) duration() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lasts
}

func (m *movie) isLate() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.late
}

// orientation is how the n-th video track, from 0, is to be shown; false: there is
// no such track, or nothing is known of it.
func (m *movie) orientation(n int) (plan.Orientation, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tracks {
		if !t.video {
			continue
		}
		if n == 0 {
			return t.matrix.times(m.matrix).orientation()
		}
		n--
	}
	return "", false
}
