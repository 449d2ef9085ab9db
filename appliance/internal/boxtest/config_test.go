package boxtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const exitConfig = 3

// TestConfigCommands has the example pass the check, the schema be JSON, and a
// fault be named with its place, by the check and by a start alike.
func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	example := program(t, time.Minute, "config", "example")
	good := filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(good, []byte(example.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := program(t, time.Minute, "config", "check", good); o.code != 0 {
		t.Errorf("the example does not pass: %d: %s", o.code, o.stderr)
	}
	if o := program(t, time.Minute, "config", "schema"); o.code != 0 || !json.Valid([]byte(o.stdout)) {
		t.Errorf("the schema is no JSON: %d: %.200s", o.code, o.stdout)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("listen: 127.0.0.1:0\ncameras:\n  - id: yard\n    sorce: 'demo:'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", bad}, {"run", "-c", bad}} {
		o := program(t, time.Minute, args...)
		if o.code != exitConfig || !strings.Contains(o.stderr, "bad.yaml:4:5") || !strings.Contains(o.stderr, `"source"`) {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
	}
	if o := program(t, time.Minute, "version"); o.code != 0 || !strings.HasPrefix(o.stdout, "watchpost ") {
		t.Errorf("version: %d: %s", o.code, o.stdout)
	}
}
