package media

import "github.com/watchpost/watchpost/appliance/internal/worker/link"

// summary is summary.json: what was analysed, with what, and how every frame
// ended.
type summary struct {
	Source   sourceSummary            `json:"source"`
	Analyser string                   `json:"analyser"`
	Model    *modelSummary            `json:"model,omitempty"`
	Runtime  string                   `json:"runtime,omitempty"`
	Encoder  string                   `json:"encoder,omitempty"`
	Settings settings                 `json:"settings"`
	Ledger   ledgerSummary            `json:"ledger"`
	Objects  uint64                   `json:"objects"` // boxes in all frames
	Classes  map[string]*classSummary `json:"classes"`
	Timing   timing                   `json:"timing"`
	Warnings []string                 `json:"warnings,omitempty"`
}

type sourceSummary struct {
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

type modelSummary struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

type settings struct {
	// Threshold is the one that was in force; left out: motion has none.
	Threshold float32  `json:"threshold,omitempty"`
	Classes   []string `json:"classes,omitempty"`
	Gate      bool     `json:"motion_gate"`
	MaxFPS    float64  `json:"max_fps"`
}

type ledgerSummary struct {
	link.Ledger
	Balanced bool `json:"balanced"`
}

// classSummary counts boxes over all frames, and the tracks that they make up.
type classSummary struct {
	Boxes  uint64 `json:"boxes"`
	Tracks int    `json:"tracks"`
}

type timing struct {
	Seconds float64 `json:"seconds"` // wall clock, setup included
	FPS     float64 `json:"fps"`     // decoded frames by Seconds
}
