package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second // a whole request; event streams lift it
	writeTimeout  = 30 * time.Second // a whole answer; event streams renew it
	idleTimeout   = 2 * time.Minute
	endTimeout    = 3 * time.Second // for requests in hand at shutdown
)

// Serve answers on all listeners until ctx ends, then ends event streams at
// once, gives the other requests a moment, and closes. It owns the listeners,
// and returns nil after an end that was asked for.
func Serve(ctx context.Context, h http.Handler, log *slog.Logger, listeners ...net.Listener) error {
	server := newServer(ctx, h, log)
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- server.Serve(l) }()
	}
	var failed error
	left := len(listeners)
	select {
	case <-ctx.Done():
	case failed = <-ended:
		left--
	}
	// ctx may be over already: the way out has its own.
	out, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := server.Shutdown(out); err != nil {
		log.Warn("requests cut off at shutdown", "err", err)
		_ = server.Close() // the listeners are closed already
	}
	for ; left > 0; left-- {
		<-ended
	}
	if failed != nil && !errors.Is(failed, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", failed)
	}
	return nil
}

func newServer(ctx context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// Requests end with ctx: event streams watch it.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
}
