package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type modelCmd struct {
	List    modelListCmd    `cmd:"" help:"List the installed models."`
	Install modelInstallCmd `cmd:"" help:"Install a model from a file, a folder, or a URL with its sha256."`
	Check   modelCheckCmd   `cmd:"" help:"Load a model, run it once and decode its output."`

	Dir  string `type:"path" placeholder:"DIR" help:"Folder of the models. Default: models in the data folder."`
	Data string `type:"path" placeholder:"DIR" help:"Data folder (models, model runtime)." env:"WATCHPOST_DATA"`
}

type modelListCmd struct{}

type modelInstallCmd struct {
	From   string `arg:"" help:"An .onnx file, a folder with model.onnx and card.yaml, or an https URL of an .onnx file."`
	SHA256 string `name:"sha256" placeholder:"HEX" help:"What the file must hash to. A URL needs it."`
	Name   string `placeholder:"NAME" help:"Name to install it under. Default: the card's."`
	Card   string `type:"path" placeholder:"FILE" help:"The model's card (YAML), where none lies beside it."`
	Family string `help:"Output family, where there is no card (yolox, yolov5, yolov8, nanodet, fastestdet, detr)."`
}

type modelCheckCmd struct {
	Name string `arg:"" help:"Installed model, or a model's file or folder."`
}

func (c *modelCmd) options() app.ModelOptions {
	return app.ModelOptions{Dir: c.Dir, DataDir: c.Data}
}

// Run is called by kong.
func (c *modelListCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.ListModels(ctx, m.Model.options())
}

// Run is called by kong.
func (c *modelInstallCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.InstallModel(ctx, m.Model.options(), app.InstallOptions{
		From: c.From, SHA256: c.SHA256, Name: c.Name, Card: c.Card, Family: c.Family,
	})
}

// Run is called by kong.
func (c *modelCheckCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.CheckModel(ctx, m.Model.options(), c.Name)
}
