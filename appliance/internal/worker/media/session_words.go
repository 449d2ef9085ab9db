package media

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/draw"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
)

// jpegQuality is that of image values where nobody says.
const jpegQuality = 85

// maxDocument bounds a document before it is compressed, so that it crosses the link
// as it is: a few uncompressed 8K pictures are more.
const maxDocument = link.MaxFrame - 1<<10

// tellAll writes the documents. A document that cannot be sent ends the session.
func (s *sessionRun) tellAll(ctx context.Context, fail func(error)) {
	for m := range s.shown.jobs {
		if ctx.Err() == nil {
			if err := s.words.tell(m); err != nil {
				fail(err)
			}
		}
		m.release()
	}
}

// wordSide makes documents and their pictures.
type wordSide struct {
	s       *sessionRun
	artist  *draw.Artist
	marks   []draw.Mark
	still   *engine.Still // nil before the first picture
	doc     document
	zip     *gzip.Writer
	zipped  bytes.Buffer
	reports repeats
}

func newWordSide(s *sessionRun, artist *draw.Artist) *wordSide {
	w := &wordSide{s: s, artist: artist, doc: newDocument(s.ask.Outputs)}
	if s.ask.Gzip {
		// Time is what lacks here: base64 hardly gets smaller than at once.
		w.zip, _ = gzip.NewWriterLevel(&w.zipped, gzip.BestSpeed)
	}
	return w
}

func (w *wordSide) close() {
	if w.still != nil {
		w.still.Close()
	}
}

// tell sends one moment's document.
func (w *wordSide) tell(m *moment) error {
	d := &w.doc
	d.begin(m)
	for n, i := range m.choice.data {
		o := &w.s.ask.Outputs[i]
		switch {
		case o.Image():
			pic, err := w.picture(m, i, n == m.choice.pictures)
			if err == nil {
				err = d.image(i, pic)
			}
			if err != nil {
				w.unsaid(m, i, err)
			}
		case m.blind != "":
			m.failed("The output %q is missing: the frame was not analysed.", o.Name)
		case w.s.sight == nil:
			m.failed("The output %q is missing: nothing looks for objects in this session.", o.Name)
		default:
			if err := d.predictions(i, o.Of, m); err != nil {
				w.unsaid(m, i, err)
			}
		}
	}
	for _, name := range m.choice.lacking {
		m.failed("The output %q is missing: the workflow has no such output.", name)
	}
	data := d.whole(m)
	if w.zip != nil {
		w.zipped.Reset()
		w.zip.Reset(&w.zipped)
		if _, err := w.zip.Write(data); err != nil {
			return fmt.Errorf("compress a document: %w", err)
		}
		if err := w.zip.Close(); err != nil {
			return fmt.Errorf("compress a document: %w", err)
		}
		data = w.zipped.Bytes()
	}
	return w.s.w.conn.SendResult(link.Result{Frame: m.at.id, PTS: m.at.time(), Data: data})
}

// unsaid puts the reason in the place of an output's value.
func (w *wordSide) unsaid(m *moment, i int, err error) {
	name := w.s.ask.Outputs[i].Name
	w.doc.failure(i, err)
	m.failed("The output %q cannot be serialized: %v", name, err)
	if n, ok := w.reports.due(time.Now()); ok {
		w.s.w.log.Warn("an output was not serialized", "output", name, "frame", m.at.id, "error", err, "times", n)
	}
}

// picture is an output's picture as JPEG. last: it is the document's last one.
func (w *wordSide) picture(m *moment, i int, last bool) ([]byte, error) {
	if w.still == nil {
		quality := w.s.ask.JPEGQuality
		if quality == 0 {
			quality = jpegQuality
		}
		still, err := engine.NewStill(quality)
		if err != nil {
			return nil, err
		}
		w.still = still
	}
	if i == m.choice.stream && m.sent != nil {
		return w.encode(m.sent)
	}
	f, err := paint(w.artist, &w.marks, m, w.s.looks[i], last)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	return w.encode(f)
}

// encode makes a JPEG; an encoder that fails is replaced for the next picture.
func (w *wordSide) encode(f *engine.Frame) ([]byte, error) {
	data, err := w.still.Encode(f)
	if err != nil {
		w.still.Close()
		w.still = nil
	}
	return data, err
}
