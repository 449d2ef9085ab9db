package results

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Format is the version of the results' files and of what an analysis does. It
// changes when the same file would give other results: an analysis that an older
// program began is then begun anew.
const Format = 2

// Summary is summary.json: what was analysed, with what, and how every frame
// ended. But for Timing it is the same however often the analysis was cut.
type Summary struct {
	Format   int               `json:"format"`
	Source   Source            `json:"source"`
	Analyser string            `json:"analyser"`
	Model    *Model            `json:"model,omitempty"`
	Runtime  string            `json:"runtime,omitempty"`
	Encoder  string            `json:"encoder,omitempty"`
	Settings Settings          `json:"settings"`
	Ledger   Ledger            `json:"ledger"`
	Results  uint64            `json:"results"` // lines of detections.jsonl
	Objects  uint64            `json:"objects"` // boxes in all frames
	Classes  map[string]*Class `json:"classes"`
	Timing   Timing            `json:"timing"`
	Warnings []string          `json:"warnings,omitempty"`
}

// Source is the file that was analysed.
type Source struct {
	Name     string  `json:"name"`
	Bytes    int64   `json:"bytes"`
	SHA256   string  `json:"sha256"`
	Codec    string  `json:"codec"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	FPS      float64 `json:"fps"`
	Rotation int     `json:"rotation"` // degrees clockwise, applied
	Decoder  string  `json:"decoder"`
	Seconds  float64 `json:"seconds"` // presentation time of the last frame
}

// Model is the network that was used.
type Model struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Settings are those that decide over the results.
type Settings struct {
	// Threshold is the one that was in force; left out: motion has none.
	Threshold float32  `json:"threshold,omitempty"`
	Classes   []string `json:"classes,omitempty"`
	Gate      bool     `json:"motion_gate"`
	MaxFPS    float64  `json:"max_fps"`
	// Track is which of the file's video tracks was analysed, from 0.
	Track int `json:"track"`
	// Streamed: the file was read from front to end, as it arrived.
	Streamed bool `json:"streamed"`
	// Video: annotated.mp4 was made, with this bitrate, greatest height and longest
	// time between keyframes; 0: chosen.
	Video            bool    `json:"video"`
	Bitrate          int     `json:"bitrate,omitempty"`
	MaxHeight        int     `json:"max_height,omitempty"`
	KeyframeInterval float64 `json:"keyframe_interval_s,omitempty"`
	// Threads that each stage was allowed; 0: chosen. ModelThreads are the
	// model's: sums in another order are other sums.
	Threads      int `json:"threads"`
	ModelThreads int `json:"model_threads,omitempty"`
}

// Ledger is the worker's, with the sums done.
type Ledger struct {
	link.Ledger
	Balanced bool `json:"balanced"`
}

// Class counts boxes over all frames, and the tracks that they make up; a track
// counts for the class under which it was first seen.
type Class struct {
	Boxes  uint64 `json:"boxes"`
	Tracks int    `json:"tracks"`
}

// Timing is all of a summary that differs from run to run.
type Timing struct {
	Seconds float64 `json:"seconds"` // wall clock, setup included, all runs
	FPS     float64 `json:"fps"`     // decoded frames by Seconds
	Runs    int     `json:"runs"`    // 1: it was not cut
}

// Work is what makes two analyses of one file the same: where it is equal, so are
// the results, on the same decoder and encoder.
type Work struct {
	Format   int      `json:"format"`
	Analyser string   `json:"analyser"`
	Model    string   `json:"model_sha256,omitempty"`
	Runtime  string   `json:"runtime,omitempty"`
	Settings Settings `json:"settings"`
}

// Same tells whether w and o give the same results.
func (w Work) Same(o Work) bool {
	same := slices.Equal(w.Settings.Classes, o.Settings.Classes)
	w.Settings.Classes, o.Settings.Classes = nil, nil
	a, errA := json.Marshal(w)
	b, errB := json.Marshal(o)
	return same && errA == nil && errB == nil && string(a) == string(b)
}

// Work is what the summary's analysis was.
func (s Summary) Work() Work {
	w := Work{Format: s.Format, Analyser: s.Analyser, Runtime: s.Runtime, Settings: s.Settings}
	if s.Model != nil {
		w.Model = s.Model.SHA256
	}
	return w
}

// SourceID is what is known of a source's identity; zero values: nothing yet.
type SourceID struct {
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// may tells whether two identities can be of one file.
func (a SourceID) may(b SourceID) bool {
	return (a.Bytes == 0 || b.Bytes == 0 || a.Bytes == b.Bytes) && (a.SHA256 == "" || b.SHA256 == "" || a.SHA256 == b.SHA256)
}

// maxSummary bounds what is read as one: classes and warnings are bounded too.
const maxSummary = 16 << 20

// ReadSummary reads the summary of a complete results folder; the error matches
// os.ErrNotExist where there is none.
func ReadSummary(dir string) (Summary, error) {
	var s Summary
	err := readJSON(filepath.Join(dir, SummaryName), maxSummary, &s)
	return s, err
}

func readJSON(path string, most int64, v any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	if info.Size() > most {
		return fmt.Errorf("read results: %s has %d bytes, more than the %d that it can have", filepath.Base(path), info.Size(), most)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return nil
}
