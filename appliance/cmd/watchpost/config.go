package main

import (
	"context"
	"fmt"
	"os"

	"github.com/watchpost/watchpost/appliance/internal/app"
	"github.com/watchpost/watchpost/appliance/internal/config"
)

type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Check a configuration file; prints every fault with its line and column."`
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration file, for editors."`
	Sample configSampleCmd `cmd:"" name:"example" help:"Print an example configuration with every key explained."`
}

type configCheckCmd struct {
	File string `arg:"" type:"path" help:"The configuration file."`
}

// Run is called by kong.
func (c *configCheckCmd) Run(context.Context, app.Program) error {
	cfg, err := app.LoadConfig(c.File)
	if err != nil {
		return err
	}
	fmt.Printf("%s: good, %d cameras\n", c.File, len(cfg.Cameras))
	return nil
}

type configSchemaCmd struct{}

// Run is called by kong.
func (c *configSchemaCmd) Run(context.Context, app.Program) error {
	schema, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, string(schema))
	return err
}

type configSampleCmd struct{}

// Run is called by kong.
func (c *configSampleCmd) Run(context.Context, app.Program) error {
	_, err := os.Stdout.Write(config.Example)
	return err
}
