package app

import (
	"bytes"
	"log/slog"
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
