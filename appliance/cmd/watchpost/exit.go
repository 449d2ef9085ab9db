package main

import (
	"context"
	"errors"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

// Exit codes by kind of error, so that scripts need not read messages.
const (
	exitOK          = 0
	exitInternal    = 1   // a fault of Watchpost or of this machine
	exitUsage       = 2   // the command line
	exitConfig      = 3   // the configuration file
	exitInput       = 4   // the source: not there, no video in it, damaged, not supported
	exitModel       = 5   // the model or its runtime
	exitOutput      = 6   // results cannot be written
	exitBox         = 7   // push: the box does not answer, or refuses
	exitState       = 8   // state: the database is damaged, in use, or of a newer version
	exitInterrupted = 130 // ended by a signal, as shells report it
)

const exitHelp = `Exit codes: 0 done, 1 internal, 2 usage, 3 configuration, 4 input, 5 model, 6 output, 7 box, 8 database, 130 interrupted.`

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, app.ErrConfig):
		return exitConfig
	case errors.Is(err, app.ErrUsage):
		return exitUsage
	case errors.Is(err, app.ErrInput):
		return exitInput
	case errors.Is(err, app.ErrModel):
		return exitModel
	case errors.Is(err, app.ErrState):
		return exitState
	case errors.Is(err, app.ErrOutput):
		return exitOutput
	case errors.Is(err, app.ErrBox):
		return exitBox
	}
	return exitInternal
}
