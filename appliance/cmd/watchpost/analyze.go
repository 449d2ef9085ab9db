package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type analyzeCmd struct {
	File      string   `arg:"" help:"The video or picture file."`
	Out       string   `short:"o" required:"" type:"path" placeholder:"DIR" help:"Folder for the results: detections.jsonl, annotated.mp4, summary.json."`
	Model     string   `placeholder:"NAME" help:"Installed model, or a model's file or folder; \"motion\" for none. Default: the one installed as yolox-nano, else motion."`
	Threshold float32  `help:"Least score of a detection; 0: the model's own." default:"0"`
	Classes   []string `help:"Only these classes."`
	Gate      bool     `name:"motion-gate" help:"Spare the model on frames without motion."`
	MaxFPS    float64  `name:"max-fps" help:"Analyse at most so many frames of a second of video; 0: all."`
	NoVideo   bool     `help:"Do not write annotated.mp4."`
	Threads   int      `help:"Threads of each stage (decode, model, encode); 0: chosen."`
	Data      string   `type:"path" placeholder:"DIR" help:"Data folder (models, caches)." env:"WATCHPOST_DATA"`
	Quiet     bool     `short:"q" help:"No progress."`
}

// Run is called by kong.
func (c *analyzeCmd) Run(ctx context.Context, p app.Program) error {
	return p.Analyze(ctx, app.AnalyzeOptions{
		File: c.File, Out: c.Out, Model: c.Model, Threshold: c.Threshold, Classes: c.Classes,
		Gate: c.Gate, MaxFPS: c.MaxFPS, NoVideo: c.NoVideo, Threads: c.Threads, DataDir: c.Data, Quiet: c.Quiet,
	})
}
