package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/webrtc/v4"
)

// Stats is what has become of a Worker so far.
type Stats struct {
	State webrtc.PeerConnectionState
	// Disconnects counts how often ICE missed the box for some seconds.
	Disconnects int
	// Connected and Lost are zero before they happened.
	Connected, Lost time.Time
	// Documents that came, with their chunks and bytes on the wire.
	Documents, Chunks uint64
	DocumentBytes     uint64
	// FirstDocument and LastDocument are when they came, notices left out.
	FirstDocument, LastDocument time.Time
	// Video is what came of the received track, Sent what went out on the sent one.
	Video VideoStats
	Sent  SentStats
}

// Stats returns what has become of it so far.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Wait returns when done says so of the stats, which it is asked whenever they
// change, or ctx's error with what is there by then.
func (w *Worker) Wait(ctx context.Context, done func(Stats) bool) (Stats, error) {
	for {
		w.mu.Lock()
		s, change := w.stats, w.change
		w.mu.Unlock()
		if done(s) {
			return s, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

func (w *Worker) update(f func(*Stats)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.stats)
	close(w.change)
	w.change = make(chan struct{})
}

// wait returns a channel of the session once it is open.
func (w *Worker) wait(ctx context.Context, s *slot, label string) (*Channel, error) {
	if s == nil {
		return nil, fmt.Errorf("the session was opened without a channel %s", label)
	}
	select {
	case <-s.open:
		return s.ch, s.err
	case <-w.lost:
		return nil, ErrLost
	case <-w.done:
		return nil, ErrLost
	case <-ctx.Done():
		return nil, fmt.Errorf("open channel %s: %w", label, ctx.Err())
	}
}

// Inference is the inference channel, once it is open: to send what the protocol
// does not have. Reading from it is Next's.
func (w *Worker) Inference(ctx context.Context) (*Channel, error) {
	return w.wait(ctx, w.inference, "inference")
}

// Open opens one more channel, which nobody reads but the caller.
func (w *Worker) Open(ctx context.Context, label string) (*Channel, error) {
	s, err := w.channel(label)
	if err != nil {
		return nil, err
	}
	return w.wait(ctx, s, label)
}

// read puts documents together and hands them to Next, one at a time: who does not
// ask for them leaves them in SCTP's window, then at the box.
func (w *Worker) read() {
	defer w.work.Done()
	defer close(w.documents)
	if w.inference == nil {
		w.readErr = errors.New("the session was opened without an inference channel")
		return
	}
	ch, err := w.wait(context.Background(), w.inference, "inference")
	if err != nil {
		w.readErr = err
		return
	}
	buf := make([]byte, 256<<10)
	a := assembler{decodeMost: w.o.DecodeMost}
	for {
		n, text, err := ch.ReadDataChannel(buf)
		if err != nil {
			w.readErr = io.EOF
			return
		}
		if text {
			w.readErr = fmt.Errorf("%w: the box says %.200q in text", ErrProtocol, buf[:n])
			return
		}
		d, err := a.add(buf[:n], time.Now())
		if err != nil {
			w.readErr = err
			return
		}
		w.update(func(s *Stats) { s.Chunks++ })
		if d == nil {
			continue
		}
		w.count(d)
		select {
		case w.documents <- d:
		case <-w.done:
			w.readErr = io.EOF
			return
		}
	}
}

func (w *Worker) count(d *Document) {
	w.update(func(s *Stats) {
		s.Documents++
		s.DocumentBytes += uint64(d.Wire)
		if d.Frame == 0 || d.Complete {
			return
		}
		s.LastDocument = d.At
		if s.FirstDocument.IsZero() {
			s.FirstDocument = d.At
		}
	})
}

// Next returns the next document; io.EOF: the channel has ended. Until it is called
// nothing more is read, which is what a slow client does.
func (w *Worker) Next(ctx context.Context) (*Document, error) {
	select {
	case d, ok := <-w.documents:
		if !ok {
			return nil, w.readErr
		}
		return d, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a document: %w", ctx.Err())
	}
}

// Finish takes documents to the end of the session and returns the last one, which
// says why. Each is given to take first (nil: nobody), notices too, then acked if acks
// is set.
func (w *Worker) Finish(ctx context.Context, acks bool, take func(*Document) error) (*Document, error) {
	for {
		d, err := w.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the session ended without its last message: %w", err)
		}
		if err != nil {
			return nil, err
		}
		if d.Complete {
			return d, nil
		}
		if take != nil {
			if err := take(d); err != nil {
				return nil, err
			}
		}
		if acks && d.Frame > 0 {
			if err := w.Ack(ctx, d.Frame); err != nil {
				return nil, err
			}
		}
	}
}

// Ack says that all frames up to n are handled.
func (w *Worker) Ack(ctx context.Context, n uint32) error {
	return w.Control(ctx, map[string]uint32{"ack": n})
}

// SetStream and SetData change the outputs; nil is sent as null.
func (w *Worker) SetStream(ctx context.Context, names []string) error {
	return w.Control(ctx, map[string][]string{"stream_output": names})
}

// SetData changes the outputs in the documents; see SetStream.
func (w *Worker) SetData(ctx context.Context, names []string) error {
	return w.Control(ctx, map[string][]string{"data_output": names})
}

// Control sends a message of the client's, as JSON text.
func (w *Worker) Control(ctx context.Context, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return w.Text(ctx, string(data))
}

// Text sends any text on the inference channel.
func (w *Worker) Text(ctx context.Context, text string) error {
	ch, err := w.Inference(ctx)
	if err != nil {
		return err
	}
	_, err = ch.WriteDataChannel([]byte(text), true)
	return err
}
