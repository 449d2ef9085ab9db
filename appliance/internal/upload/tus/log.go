package tus

import (
	"context"

	"golang.org/x/exp/slog" // tusd asks for this one
)

// silent is tusd's log: nothing. It would write several lines for each part of each
// file; what matters of them is the answer, and what is the box's fault is
// logged where the answer is made.
type silent struct{}

func (silent) Enabled(context.Context, slog.Level) bool  { return false }
func (silent) Handle(context.Context, slog.Record) error { return nil }
func (s silent) WithAttrs([]slog.Attr) slog.Handler      { return s }
func (s silent) WithGroup(string) slog.Handler           { return s }
