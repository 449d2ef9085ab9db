package boxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// MJPEGConfig is what an MJPEG camera does that a test needs.
type MJPEGConfig struct {
	// User and Password are asked for by Basic if they are not empty.
	User, Password string
	// Mute accepts requests and never answers them.
	Mute bool
	// Frames ends every stream after so many; 0: none ends.
	Frames int
}

// MJPEGCamera is an HTTP server on loopback that sends JPEGs in a loop, as
// multipart/x-mixed-replace.
type MJPEGCamera struct {
	config MJPEGConfig
	clip   Clip // of JPEGs
	server http.Server
	addr   net.Addr
	played sync.WaitGroup
	plays  atomic.Int64
	stop   context.CancelFunc
}

// NewMJPEGCamera starts a camera on a free port. The clip's units are JPEGs.
func NewMJPEGCamera(clip Clip, c MJPEGConfig) (*MJPEGCamera, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start an MJPEG camera: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &MJPEGCamera{config: c, clip: clip, addr: l.Addr(), stop: stop}
	m.server = http.Server{Handler: http.HandlerFunc(m.serve), ReadHeaderTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	m.played.Go(func() { _ = m.server.Serve(l) }) // until Close
	return m, nil
}

// URL of the stream, with the credentials given, if any.
func (m *MJPEGCamera) URL(user, password string) string {
	if user != "" {
		user += ":" + password + "@"
	}
	return fmt.Sprintf("http://%s%s/stream", user, m.addr)
}

// Plays is how many times somebody began to play.
func (m *MJPEGCamera) Plays() int { return int(m.plays.Load()) }

// Close closes the port and every connection.
func (m *MJPEGCamera) Close() error {
	m.stop()
	err := m.server.Close()
	m.played.Wait()
	return err
}

func (m *MJPEGCamera) serve(w http.ResponseWriter, r *http.Request) {
	if m.config.Mute {
		<-r.Context().Done()
		return
	}
	if u, p, _ := r.BasicAuth(); m.config.User != "" && (u != m.config.User || p != m.config.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	m.plays.Add(1)
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
	begun := time.Now()
	for n := 0; m.config.Frames == 0 || n < m.config.Frames; n++ {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Until(begun.Add(time.Duration(n) * time.Second / time.Duration(m.clip.FPS)))):
		}
		unit := m.clip.Units[n%len(m.clip.Units)]
		_, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(unit), unit)
		if err == nil {
			err = http.NewResponseController(w).Flush()
		}
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the player has gone
		}
	}
}
