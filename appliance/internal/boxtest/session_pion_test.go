package boxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// pionPlayer plays a scenario with package session/client, as client.py does with
// aiortc: the same facts come of it.
type pionPlayer struct {
	t   *testing.T
	p   scenario
	w   *client.Worker
	ctx context.Context

	camera  []client.Unit
	hand    chan struct{} // a token: the next frame by hand may be sent
	stopped chan struct{}
	stop    sync.Once
	resumed chan uint32 // an ack that is due when a hold is over

	mu    sync.Mutex
	facts facts
	units []client.Unit
	begun time.Time
	last  uint32
}

func playPion(t *testing.T, b *Box, p scenario) facts {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration((p.Within+30)*float64(time.Second)))
	defer cancel()
	pl := &pionPlayer{t: t, p: p, ctx: ctx, hand: make(chan struct{}, 1), stopped: make(chan struct{}), resumed: make(chan uint32, 1), begun: time.Now()}
	pl.hand <- struct{}{}
	o := client.WorkerOptions{Label: p.Label, NoInference: p.Label == "", Upload: p.Source == fromFile, OnUnit: pl.unit}
	if p.Receive {
		o.Receive = client.Any
	}
	if p.Source == fromCamera || p.Source == fromHand {
		if o.Send = strings.ToLower(p.Codec); o.Send == "" {
			o.Send = client.VP8
		}
		if p.Receive {
			o.Receive = o.Send
		}
		pl.camera = cameraUnits(t, o.Send, p.Frames, p.FPS)
	}
	if len(p.Headers) > 0 {
		o.Header = http.Header{}
	}
	for k, v := range p.Headers {
		o.Header.Set(k, v)
	}
	w, err := client.Initialise(ctx, b.URL, client.Request{More: p.Request}, o)
	var no *client.Refused
	if errors.As(err, &no) {
		pl.facts.Refused = &refusal{Status: no.Status, Message: no.Message, Field: no.Field, Expected: no.Expected, Available: no.Available}
		if no.RetryAfter != "" {
			pl.facts.Refused.RetryAfter = &no.RetryAfter
		}
		return pl.facts
	}
	if err != nil {
		t.Fatal(err)
	}
	pl.w = w
	return pl.play()
}

func (pl *pionPlayer) play() facts {
	w, p := pl.w, pl.p
	pl.facts.AnsweredIn = w.Took.Seconds()
	for _, c := range []string{"VP8", "H264"} {
		if strings.Contains(w.Answer, " "+c+"/90000") {
			pl.facts.Codecs = append(pl.facts.Codecs, c)
		}
	}
	ctx, cancel := context.WithTimeout(pl.ctx, 60*time.Second)
	if err := w.Connected(ctx); err != nil {
		pl.t.Fatal(err)
	}
	cancel()
	for _, text := range p.Say {
		if err := w.Text(pl.ctx, text); err != nil {
			pl.t.Fatal(err)
		}
	}
	ctx, cancel = context.WithCancel(pl.ctx)
	var work sync.WaitGroup
	complete := make(chan struct{})
	if p.Label != "" {
		work.Go(func() { pl.documents(ctx, complete) })
	}
	if pl.camera != nil {
		work.Go(func() { pl.film(ctx) })
	}
	if p.File != "" {
		work.Go(func() { pl.upload(ctx) })
	}
	vanish := pl.untilTheEnd(complete)
	var err error
	if vanish {
		pl.facts.Killed = time.Now()
		err = w.Break()
	} else {
		err = w.Close()
	}
	if err != nil {
		pl.t.Logf("close: %v", err)
	}
	cancel()
	work.Wait()
	pl.look()
	pl.facts.Took = pl.now()
	return pl.facts
}

func (pl *pionPlayer) now() float64 { return time.Since(pl.begun).Seconds() }

// untilTheEnd waits for it, and tells whether to vanish.
func (pl *pionPlayer) untilTheEnd(complete <-chan struct{}) (vanish bool) {
	s := pl.p.Stop
	if s == nil {
		s = &stop{}
	}
	var in <-chan time.Time
	if s.Seconds > 0 {
		in = time.After(time.Duration(s.Seconds * float64(time.Second)))
	}
	by := "nothing"
	select {
	case <-complete:
		by = "complete"
	case <-pl.stopped:
		by = "stopped"
	case <-in:
		by = "time"
	case <-pl.w.Lost():
		by = "lost"
		// The last word may be read at this moment.
		select {
		case <-complete:
			by = "complete"
		case <-time.After(time.Second):
		}
	case <-time.After(time.Duration(pl.p.Within * float64(time.Second))):
	}
	pl.mu.Lock()
	pl.facts.EndedBy, pl.facts.EndedAt = by, pl.now()
	pl.mu.Unlock()
	if by != "complete" {
		return s.How == "vanish"
	}
	select {
	case <-pl.w.Lost():
		at := max(pl.w.Stats().Lost.Sub(pl.begun).Seconds(), pl.facts.EndedAt)
		pl.facts.ClosedAt = &at
	case <-time.After(8 * time.Second):
	}
	return false
}

func (pl *pionPlayer) fault(err error) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.facts.Faults = append(pl.facts.Faults, err.Error())
}

func (pl *pionPlayer) documents(ctx context.Context, complete chan<- struct{}) {
	changes, held, holding := pl.p.Changes, false, false
	next := make(chan *client.Document)
	go func() {
		defer close(next)
		for {
			d, err := pl.w.Next(ctx)
			if err != nil {
				if !errors.Is(err, io.EOF) && ctx.Err() == nil {
					pl.fault(err)
				}
				return
			}
			next <- d
		}
	}()
	say := func(v any) {
		text, ok := v.(string)
		if !ok {
			raw, _ := json.Marshal(v) // of the test's own making
			text = string(raw)
		}
		_ = pl.w.Text(ctx, text) // a session that has ended shows elsewhere
	}
	for {
		var d *client.Document
		var ok bool
		select {
		case through := <-pl.resumed:
			holding = false
			say(map[string]uint32{"ack": through})
			continue
		case d, ok = <-next:
			if !ok {
				return
			}
		}
		pl.note(d)
		if d.Complete {
			close(complete)
			continue
		}
		if h := pl.p.Hold; pl.p.Acks == "each" && d.Frame > 0 && !holding {
			say(map[string]uint32{"ack": d.Frame})
			if h != nil && !held && d.Frame >= h.After {
				held, holding = true, true
				time.AfterFunc(time.Duration(h.Seconds*float64(time.Second)), func() { pl.resume(h) })
			}
		}
		for len(changes) > 0 && d.Frame >= changes[0].After {
			say(changes[0].Say)
			changes = changes[1:]
		}
	}
}

func (pl *pionPlayer) resume(h *hold) {
	pl.mu.Lock()
	pl.facts.Reached = append(pl.facts.Reached, pl.last)
	through := pl.last
	pl.mu.Unlock()
	if h.Ack > 0 {
		through = h.Ack
	}
	pl.resumed <- through
}

// note keeps a document, its pictures replaced by what is seen in them.
func (pl *pionPlayer) note(d *client.Document) {
	var doc document
	if err := json.Unmarshal(d.Raw, &doc); err != nil {
		pl.fault(err)
		return
	}
	doc.ID, doc.Gzipped = d.Frame, d.Gzip
	for name, raw := range doc.Outputs {
		if !bytes.Contains(raw[:min(len(raw), 100)], []byte(`"base64"`)) {
			continue
		}
		value, err := lookAtValue(d, name)
		if err != nil {
			pl.fault(err)
			continue
		}
		doc.Outputs[name] = value
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	doc.At = pl.now()
	pl.facts.Documents = append(pl.facts.Documents, doc)
	if d.Frame > 0 && !d.Complete {
		pl.last = max(pl.last, d.Frame)
		select {
		case pl.hand <- struct{}{}:
		default:
		}
	}
	pl.reconsider()
}

// lookAtValue is an image value as client.py tells of it.
func lookAtValue(d *client.Document, name string) (json.RawMessage, error) {
	raw, err := d.JPEG(name)
	if err != nil {
		return nil, err
	}
	img, err := jpeg.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	p := picture{Width: img.Bounds().Dx(), Height: img.Bounds().Dy()}
	for y := 0; y < p.Height; y += 2 {
		for x := 0; x < p.Width; x += 2 {
			r, g, b, _ := img.At(x, y).RGBA()
			if most, least := max(r, g, b), min(r, g, b); (most-least)>>8 > 48 {
				p.Coloured++
			}
		}
	}
	run := 0
	for x := range p.Width {
		if _, g, _, _ := img.At(x, p.Height/2).RGBA(); g>>8 < (groundLuma+blockLuma)/2 {
			run = 0
			continue
		}
		if run++; run > p.Width/16 {
			p.Left, p.Right = x-run+1, x+1
		}
	}
	var meta struct {
		Metadata *metadata `json:"video_metadata"`
	}
	if err := json.Unmarshal(d.Outputs[name], &meta); err != nil {
		return nil, err
	}
	return json.Marshal(imageValue{Picture: &p, Bytes: len(raw), Metadata: meta.Metadata})
}

func (pl *pionPlayer) unit(u client.Unit) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.units = append(pl.units, u)
	pl.reconsider()
}

// reconsider ends the play when enough has come; pl.mu is held.
func (pl *pionPlayer) reconsider() {
	s := pl.p.Stop
	if s == nil || s.Documents == 0 && s.Pictures == 0 || len(pl.facts.Documents) < s.Documents || len(pl.units) < s.Pictures {
		return
	}
	pl.stop.Do(func() { close(pl.stopped) })
}

// film sends the client's own frames.
func (pl *pionPlayer) film(ctx context.Context) {
	if pl.p.Source == fromCamera {
		_ = pl.w.Play(ctx, pl.camera) // an early end shows in the documents
		return
	}
	for _, u := range pl.camera {
		select {
		case <-pl.hand:
		case <-ctx.Done():
			return
		}
		if pl.w.Send(ctx, u) != nil {
			return
		}
	}
}
