package peer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// loggers hands pion its loggers, on top of slog. Pion warns and complains
// about what is a network's daily routine (a peer that vanished, a packet for
// a session that is closed), therefore everything below an error is debug, and an
// error, which seldom is ours, is info.
type loggers struct{ log *slog.Logger }

func (l loggers) NewLogger(scope string) logging.LeveledLogger {
	return leveled{l.log.With("pion", scope)}
}

type leveled struct{ log *slog.Logger }

// levelTrace lies below debug: pion's trace is a line for each packet.
const levelTrace = slog.LevelDebug - 4

func (l leveled) write(level slog.Level, msg string) {
	l.log.Log(context.Background(), level, msg)
}

// writef formats only what is going to be written.
func (l leveled) writef(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}

func (l leveled) Trace(msg string)                  { l.write(levelTrace, msg) }
func (l leveled) Tracef(format string, args ...any) { l.writef(levelTrace, format, args) }
func (l leveled) Debug(msg string)                  { l.write(levelTrace, msg) }
func (l leveled) Debugf(format string, args ...any) { l.writef(levelTrace, format, args) }
func (l leveled) Info(msg string)                   { l.write(slog.LevelDebug, msg) }
func (l leveled) Infof(format string, args ...any)  { l.writef(slog.LevelDebug, format, args) }
func (l leveled) Warn(msg string)                   { l.write(slog.LevelDebug, msg) }
func (l leveled) Warnf(format string, args ...any)  { l.writef(slog.LevelDebug, format, args) }
func (l leveled) Error(msg string)                  { l.write(slog.LevelInfo, msg) }
func (l leveled) Errorf(format string, args ...any) { l.writef(slog.LevelInfo, format, args) }
