package app

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// What a session's worker writes on stderr is kept and logged without the password in
// the address that its client gave.
func TestSessionSecrets(t *testing.T) {
	var out bytes.Buffer // one goroutine writes, and has ended when Wait returns
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	spawner, err := worker.New(worker.Config{
		Executable: "/bin/sh", Args: []string{"-c", "echo 'no way to rtsp://viewer:hunter2@camera.lan/live, user-pw=hunter2' >&2; exit 3"},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer spawner.Close()
	b := &box{sessions: &peerSessions{spawner: spawner}}
	w, err := b.spawnSession(t.Context(), link.Start{
		Mode: "session", Camera: "session 1", Source: link.Source{URL: "rtsp://viewer:hunter2@camera.lan/live"}, Session: &link.Session{},
	}, func(link.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	exit := w.Wait()
	said := strings.Join(exit.Stderr, "\n") + out.String()
	if strings.Contains(said, "hunter2") || !strings.Contains(said, "camera.lan/live") {
		t.Errorf("%s", said)
	}
}

// So are the reasons that a worker tells of its source and of its own end: they reach the
// client.
func TestSessionSecretsInReports(t *testing.T) {
	const words = "cannot log in at rtsp://viewer:hunter2@camera.lan/live with the password hunter2"
	path := filepath.Join(t.TempDir(), "reports")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	conn := link.NewConn(file)
	if err := errors.Join(
		conn.Send(link.KindHello, link.Hello{Version: "test", PID: 1}),
		conn.Send(link.KindStatus, link.Status{State: link.Offline, Reason: words}),
		conn.Send(link.KindFault, link.Fault{Kind: link.FaultRefused, Message: words}),
		conn.Close()); err != nil {
		t.Fatal(err)
	}
	spawner, err := worker.New(worker.Config{Executable: "/bin/sh", Args: []string{"-c", `cat "$0" >&3; exit 1`, path}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer spawner.Close()
	b := &box{sessions: &peerSessions{spawner: spawner}}
	var said []string // one goroutine calls, and has ended when Wait returns
	w, err := b.spawnSession(t.Context(), link.Start{
		Mode: "session", Camera: "session 1", Source: link.Source{URL: "rtsp://viewer:hunter2@camera.lan/live"}, Session: &link.Session{},
	}, func(m link.Message) {
		switch v := m.Value.(type) {
		case link.Status:
			said = append(said, v.Reason)
		case link.Fault:
			said = append(said, v.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	exit := w.Wait()
	if exit.Fault == nil || exit.Err == nil || len(said) != 2 {
		t.Fatalf("%+v, %q", exit, said)
	}
	for _, s := range append(said, exit.Fault.Message, exit.Err.Error()) {
		if strings.Contains(s, "hunter2") || !strings.Contains(s, "camera.lan/live") {
			t.Errorf("%q", s)
		}
	}
}
