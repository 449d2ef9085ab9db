package link

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Session is what a peer asked of mode "session": which outputs it wants of every
// frame, and how they are made. The model is Start's; every Output refers to the
// one analysis of the frame.
type Session struct {
	// Realtime drops frames that cannot be handled in time, and plays files at
	// their own rate. Else every frame is handled, at most as far ahead as Credit.
	Realtime bool `json:"realtime,omitempty"`
	// DeclaredFPS is reported where the source declares no rate; 0: 30.
	DeclaredFPS float64 `json:"declared_fps,omitempty"`
	// IoU is the threshold of non-maximum suppression; 0: the model's.
	IoU float32 `json:"iou,omitempty"`
	// NoModel: no output needs detections; nothing is loaded and nothing looked for.
	NoModel bool `json:"no_model,omitempty"`
	// Tracker is nil where nothing is tracked.
	Tracker *Tracker `json:"tracker,omitempty"`
	// Outputs that may be selected, in the order of the workflow.
	Outputs []Output `json:"outputs,omitempty"`
	// Select is what is sent to begin with, Credit how far.
	Select Select `json:"select"`
	Credit Credit `json:"credit"`
	// Video is the codec of the selected stream; 0: the peer takes no video.
	Video Codec `json:"video,omitempty"`
	// Gzip compresses documents.
	Gzip bool `json:"gzip,omitempty"`
	// JPEGQuality of image values, 1 to 100; 0: 85.
	JPEGQuality int `json:"jpeg_quality,omitempty"`
}

// Tracker is how detections become tracks; 0 in any field: the tracker's own.
type Tracker struct {
	Activation  float32 `json:"activation,omitempty"`   // least score that begins a track
	LostFrames  int     `json:"lost_frames,omitempty"`  // frames without a match until a track ends
	Matching    float32 `json:"matching,omitempty"`     // greatest cost of a match, 1 - IoU
	FirstFrames int     `json:"first_frames,omitempty"` // matches before a track counts
}

// The sets of predictions that outputs and layers may be of.
const (
	Detected = "detected" // what the model found in the frame
	Tracked  = "tracked"  // the same, with the tracks' ids
	New      = "new"      // tracked, never seen before
	Seen     = "seen"     // tracked, seen before
)

// Output is one value of a frame: predictions if Of is set, else a picture.
type Output struct {
	Name string `json:"name"`
	Of   string `json:"of,omitempty"`
	// Layers are drawn on the frame in this order; none: the frame as it came.
	Layers []Layer `json:"layers,omitempty"`
}

// Image tells whether the output is a picture.
func (o Output) Image() bool { return o.Of == "" }

// The kinds of layers.
const (
	LayerBoxes  = "boxes"
	LayerLabels = "labels"
)

// Layer is one drawing on a picture. Zero values mean the artist's own choice.
type Layer struct {
	Draw string `json:"draw"` // LayerBoxes or LayerLabels
	Of   string `json:"of"`   // which predictions
	// Thickness of lines, pixels; Roundness of corners, 0 to 1.
	Thickness float64 `json:"thickness,omitempty"`
	Roundness float64 `json:"roundness,omitempty"`
	// Text of labels: "class", "confidence", "class_confidence", "tracker_id", "index",
	// "dimensions" or "area"; Position one of "top_left", "top_center", "top_right",
	// "center_left", "center", "center_right", "bottom_left", "bottom_center",
	// "bottom_right"; Scale of the letters, 1 being usual.
	Text     string  `json:"text,omitempty"`
	Position string  `json:"position,omitempty"`
	Scale    float64 `json:"scale,omitempty"`
	// TextColour as #rrggbb; Padding around the text, pixels.
	TextColour string `json:"text_colour,omitempty"`
	Padding    int    `json:"padding,omitempty"`
	// ColourBy is "class", "track" or "index"; Palette the colours, #rrggbb.
	ColourBy string   `json:"colour_by,omitempty"`
	Palette  []string `json:"palette,omitempty"`
}

// Select says which outputs are sent.
type Select struct {
	// Stream is the picture that goes out as video; empty: none.
	Stream string `json:"stream,omitempty"`
	// Data are the outputs in the documents, pictures included; All: all that are
	// not pictures.
	Data []string `json:"data,omitempty"`
	All  bool     `json:"all,omitempty"`
	// NoDocuments: nobody reads them, not even their metadata.
	NoDocuments bool `json:"no_documents,omitempty"`
}

// Credit says up to which frame results may be sent. In a session that is not
// realtime the frame after it waits; in one that is, its document is left out.
type Credit struct {
	Through uint64 `json:"through"`
}

// Result is the document of one frame, ready for the peer: JSON, or gzip of it. It
// crosses the link in binary.
type Result struct {
	Frame uint64 // from 1, without gaps but those of documents left out
	PTS   time.Duration
	// Data is owned by the receiver.
	Data []byte
}

// The most of what a session may ask for.
const (
	MaxOutputs = 64
	MaxLayers  = 32
	MaxPalette = 256
	maxName    = 256
)

func (s Session) check() error {
	switch {
	case len(s.Outputs) > MaxOutputs:
		return fmt.Errorf("%d outputs, the most is %d", len(s.Outputs), MaxOutputs)
	case s.DeclaredFPS < 0 || s.IoU < 0 || s.JPEGQuality < 0 || s.JPEGQuality > 100:
		return fmt.Errorf("declared rate %v, IoU %v or JPEG quality %d is out of range", s.DeclaredFPS, s.IoU, s.JPEGQuality)
	case s.Video != 0 && !s.Video.Valid():
		return fmt.Errorf("%s is not known", s.Video)
	}
	for _, o := range s.Outputs {
		if err := o.check(); err != nil {
			return fmt.Errorf("output %.64q: %w", o.Name, err)
		}
	}
	return s.Select.check()
}

func (o Output) check() error {
	if o.Name == "" || len(o.Name) > maxName {
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	}
	if !o.Image() && (!predictions(o.Of) || len(o.Layers) > 0) {
		return fmt.Errorf("%q is no set of predictions, or has layers", o.Of)
	}
	if len(o.Layers) > MaxLayers {
		return fmt.Errorf("%d layers, the most is %d", len(o.Layers), MaxLayers)
	}
	for _, l := range o.Layers {
		if (l.Draw != LayerBoxes && l.Draw != LayerLabels) || !predictions(l.Of) || len(l.Palette) > MaxPalette {
			return fmt.Errorf("a layer draws %q of %q with %d colours", l.Draw, l.Of, len(l.Palette))
		}
	}
	return nil
}

func predictions(of string) bool {
	switch of {
	case Detected, Tracked, New, Seen:
		return true
	}
	return false
}

func (s Select) check() error {
	if len(s.Data) > MaxOutputs {
		return fmt.Errorf("%d outputs are selected, the most is %d", len(s.Data), MaxOutputs)
	}
	return nil
}

// The payload of a result, little-endian: uint64 frame, int64 PTS in ns, document.
const resultHead = 16

func (r Result) check() error {
	if r.Frame == 0 || r.PTS < 0 || r.PTS > MaxPTS {
		return fmt.Errorf("%w: result of frame %d at %v", ErrProtocol, r.Frame, r.PTS)
	}
	if len(r.Data) == 0 {
		return fmt.Errorf("%w: no document", ErrProtocol)
	}
	if n := 1 + resultHead + len(r.Data); n > MaxFrame {
		return fmt.Errorf("%w: a frame of %d bytes, the most is %d", ErrProtocol, n, MaxFrame)
	}
	return nil
}

func (r Result) appendHead(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Frame)
	return binary.LittleEndian.AppendUint64(b, uint64(r.PTS))
}
