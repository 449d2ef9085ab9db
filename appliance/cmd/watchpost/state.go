package main

import (
	"context"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type stateCmd struct {
	Check   stateCheckCmd   `cmd:"" help:"Read the whole database and say how it is; also while the box runs."`
	Dump    stateDumpCmd    `cmd:"" help:"Print every record as JSON, one a line; also while the box runs."`
	Backup  stateBackupCmd  `cmd:"" help:"Copy the database to a new file; also while the box runs."`
	Restore stateRestoreCmd `cmd:"" help:"Put a backup in the database's place. The box must be stopped."`

	Config string `short:"c" type:"path" placeholder:"FILE" help:"The box's configuration file, for its data folder." env:"WATCHPOST_CONFIG"`
	Data   string `type:"path" placeholder:"DIR" help:"Data folder." env:"WATCHPOST_DATA"`
}

type stateCheckCmd struct {
	File string `arg:"" optional:"" type:"path" help:"A database or backup. Default: the box's own."`
}

type stateDumpCmd struct {
	File   string `arg:"" optional:"" type:"path" help:"A database or backup. Default: the box's own."`
	Bucket string `placeholder:"NAME" enum:"uploads,jobs,workflows,quarantine," default:"" help:"Only these records: uploads, jobs, workflows or quarantine."`
}

type stateBackupCmd struct {
	To string `arg:"" name:"file" type:"path" help:"File to write; it must not be there."`
}

type stateRestoreCmd struct {
	From string `arg:"" name:"file" help:"A backup, or \"newest\": the newest automatic one that is whole."`
}

func (c *stateCmd) options(file string) app.StateOptions {
	return app.StateOptions{File: file, DataDir: c.Data, Config: c.Config}
}

// Run is called by kong.
func (c *stateCheckCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.CheckState(ctx, m.State.options(c.File))
}

// Run is called by kong.
func (c *stateDumpCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.DumpState(ctx, m.State.options(c.File), c.Bucket)
}

// Run is called by kong.
func (c *stateBackupCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.BackupState(ctx, m.State.options(""), c.To)
}

// Run is called by kong.
func (c *stateRestoreCmd) Run(ctx context.Context, p app.Program, m *cli) error {
	return p.RestoreState(ctx, m.State.options(""), c.From)
}
