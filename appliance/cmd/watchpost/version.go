package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/watchpost/watchpost/appliance/internal/app"
)

type versionCmd struct{}

// Run is called by kong.
func (c *versionCmd) Run(_ context.Context, p app.Program) error {
	_, err := fmt.Printf("watchpost %s %s/%s %s\n", p.Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
