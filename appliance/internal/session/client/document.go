package client

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Document is one message of the inference channel, put together from its chunks.
type Document struct {
	// Frame is the frame_id of the chunks; 0: a notice that belongs to no frame.
	Frame uint32
	// Outputs is serialized_output_data; nil: it is null.
	Outputs map[string]json.RawMessage
	// Metadata is nil where the message has none.
	Metadata *Metadata
	Errors   []string
	// Complete: it is the last of the session. Reason is its termination_reason;
	// empty: null, the source came to its end.
	Complete bool
	Reason   string

	// Raw is the JSON as it came, unpacked.
	Raw []byte
	// Chunks, Wire and Gzip tell how it came: in how many messages, of how many
	// bytes of payload, compressed or not.
	Chunks int
	Wire   int
	Gzip   bool
	// At is when its last chunk came.
	At time.Time
	// Skimmed: it was longer than Options.DecodeMost, so that only Frame and the
	// fields below Raw are set. Raw is as it came on the wire.
	Skimmed bool
}

// Metadata is a document's video_metadata.
type Metadata struct {
	FrameID    uint32 `json:"frame_id"`
	ReceivedAt string `json:"received_at"` // ISO 8601
	// PTS in units of TimeBase seconds.
	PTS         int64   `json:"pts"`
	TimeBase    float64 `json:"time_base"`
	DeclaredFPS float64 `json:"declared_fps"`
	MeasuredFPS float64 `json:"measured_fps"`
	Width       int     `json:"width"`
	Height      int     `json:"height"`
}

// Predictions is the value of an output of detections.
type Predictions struct {
	Image struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	} `json:"image"`
	Predictions []Prediction `json:"predictions"`
}

// Prediction is one object; X and Y are the centre of its box, pixels.
type Prediction struct {
	X           float64 `json:"x"`
	Y           float64 `json:"y"`
	Width       float64 `json:"width"`
	Height      float64 `json:"height"`
	Confidence  float64 `json:"confidence"`
	Class       string  `json:"class"`
	ClassID     int     `json:"class_id"`
	DetectionID string  `json:"detection_id"`
	TrackerID   *int    `json:"tracker_id"`
}

// Predictions of an output.
func (d *Document) Predictions(output string) (Predictions, error) {
	var p Predictions
	raw, ok := d.Outputs[output]
	if !ok {
		return p, fmt.Errorf("document %d has no output %q", d.Frame, output)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("output %q of document %d: %w", output, d.Frame, err)
	}
	return p, nil
}

// JPEG is the picture of an output.
func (d *Document) JPEG(output string) ([]byte, error) {
	var v struct{ Type, Value string }
	raw, ok := d.Outputs[output]
	if !ok {
		return nil, fmt.Errorf("document %d has no output %q", d.Frame, output)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("output %q of document %d: %w", output, d.Frame, err)
	}
	if v.Type != "base64" {
		return nil, fmt.Errorf("output %q of document %d is %q, not a base64 image", output, d.Frame, v.Type)
	}
	jpeg, err := base64.StdEncoding.DecodeString(v.Value)
	if err != nil {
		return nil, fmt.Errorf("output %q of document %d: %w", output, d.Frame, err)
	}
	return jpeg, nil
}

// Bounds of what a box may send; a box keeps far below them.
const (
	chunkHead   = 12
	maxChunks   = 1 << 16
	maxDocument = 256 << 20 // bytes, packed and unpacked
	maxPending  = 1 << 10   // documents in pieces at once
)

// ErrProtocol is a message that the protocol does not have.
var ErrProtocol = errors.New("not a message of the worker protocol")

// assembler puts documents together from chunks in any order.
type assembler struct {
	decodeMost int // bytes; 0: all
	pending    map[uint32]*pieces
	bytes      int // in pending
}

type pieces struct {
	payloads [][]byte
	missing  int
	bytes    int
}

// add takes one message and returns the document that it completes, or nil. It
// keeps nothing of message.
func (a *assembler) add(message []byte, now time.Time) (*Document, error) {
	if len(message) < chunkHead {
		return nil, fmt.Errorf("%w: a chunk of %d bytes", ErrProtocol, len(message))
	}
	frame := binary.LittleEndian.Uint32(message)
	index, total := binary.LittleEndian.Uint32(message[4:]), binary.LittleEndian.Uint32(message[8:])
	if total == 0 || total > maxChunks || index >= total {
		return nil, fmt.Errorf("%w: chunk %d of %d", ErrProtocol, index, total)
	}
	p := a.pending[frame]
	if p == nil {
		if len(a.pending) == maxPending {
			return nil, fmt.Errorf("%w: %d documents are in pieces", ErrProtocol, maxPending)
		}
		p = &pieces{payloads: make([][]byte, total), missing: int(total)}
		if a.pending == nil {
			a.pending = map[uint32]*pieces{}
		}
		a.pending[frame] = p
	}
	if len(p.payloads) != int(total) {
		return nil, fmt.Errorf("%w: document %d has %d chunks, then %d", ErrProtocol, frame, len(p.payloads), total)
	}
	payload := message[chunkHead:]
	if p.payloads[index] != nil {
		return nil, fmt.Errorf("%w: chunk %d of document %d comes twice", ErrProtocol, index, frame)
	}
	if a.bytes+len(payload) > maxDocument {
		return nil, fmt.Errorf("%w: more than %d bytes of documents in pieces", ErrProtocol, maxDocument)
	}
	p.payloads[index] = append([]byte{}, payload...)
	p.bytes, a.bytes = p.bytes+len(payload), a.bytes+len(payload)
	if p.missing--; p.missing > 0 {
		return nil, nil
	}
	delete(a.pending, frame)
	a.bytes -= p.bytes
	return a.decode(frame, p, now)
}

func (a *assembler) decode(frame uint32, p *pieces, now time.Time) (*Document, error) {
	d := &Document{Frame: frame, Raw: bytes.Join(p.payloads, nil), Chunks: len(p.payloads), Wire: p.bytes, At: now}
	d.Gzip = bytes.HasPrefix(d.Raw, []byte{0x1f, 0x8b})
	if a.decodeMost > 0 && len(d.Raw) > a.decodeMost {
		d.Skimmed = true
		return d, nil
	}
	if d.Gzip {
		r, err := gzip.NewReader(bytes.NewReader(d.Raw))
		if err != nil {
			return nil, fmt.Errorf("%w: document %d: %w", ErrProtocol, frame, err)
		}
		if d.Raw, err = io.ReadAll(io.LimitReader(r, maxDocument+1)); err != nil {
			return nil, fmt.Errorf("%w: document %d: %w", ErrProtocol, frame, err)
		}
		if len(d.Raw) > maxDocument {
			return nil, fmt.Errorf("%w: document %d is longer than %d bytes", ErrProtocol, frame, maxDocument)
		}
	}
	var m struct {
		Outputs  map[string]json.RawMessage `json:"serialized_output_data"`
		Metadata *Metadata                  `json:"video_metadata"`
		Errors   []string                   `json:"errors"`
		Complete bool                       `json:"processing_complete"`
		Reason   *string                    `json:"termination_reason"`
	}
	if err := json.Unmarshal(d.Raw, &m); err != nil {
		return nil, fmt.Errorf("%w: document %d: %w", ErrProtocol, frame, err)
	}
	d.Outputs, d.Metadata, d.Errors, d.Complete = m.Outputs, m.Metadata, m.Errors, m.Complete
	if m.Reason != nil {
		d.Reason = *m.Reason
	}
	return d, nil
}
