package boxtest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestModelInstall has what is refused leave nothing behind, and what is good
// installed once, from a URL with its hash.
func TestModelInstall(t *testing.T) {
	needModel(t)
	network, err := os.ReadFile(filepath.Join(kit(t).data, "models", Model, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(network)
	hash := hex.EncodeToString(sum[:])
	other := strings.Repeat("0", 64)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/yolox_nano.onnx":
			_, _ = w.Write(network)
		case "/cut.onnx":
			w.Header().Set("Content-Length", "3660092")
			_, _ = w.Write(network[:1000])
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()

	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	good := filepath.Join(dir, "yolox_nano.onnx")
	garbage := filepath.Join(dir, "garbage.onnx")
	cut := filepath.Join(dir, "cut.onnx")
	for path, content := range map[string][]byte{good: network, garbage: noise(4096), cut: network[:len(network)/2]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := func(t *testing.T, args ...string) outcome {
		return program(t, time.Minute, append([]string{"model", "--data", data, "install"}, args...)...)
	}
	for _, c := range []struct {
		name  string
		args  []string
		words string
	}{
		{"file with another hash", []string{good, "--sha256", other}, hash},
		{"file with half a hash", []string{good, "--sha256", "abcd"}, "64"},
		{"garbage", []string{garbage, "--family", "yolox"}, "garbage.onnx"},
		{"half a file", []string{cut, "--family", "yolox"}, "cut.onnx"},
		{"file without a card or a family", []string{garbage}, "card"},
		{"family whose output it has not", []string{good, "--family", "detr", "--name", "wrong"}, ""},
		{"missing file", []string{filepath.Join(dir, "nowhere.onnx")}, "nowhere.onnx"},
		{"URL without its hash", []string{web.URL + "/yolox_nano.onnx"}, "sha256"},
		{"URL with another hash", []string{web.URL + "/yolox_nano.onnx", "--sha256", other}, hash},
		{"URL with nothing at it", []string{web.URL + "/none.onnx", "--sha256", hash}, "404"},
		{"URL that breaks off", []string{web.URL + "/cut.onnx", "--sha256", hash}, ""},
		{"secret in the URL", []string{strings.Replace(web.URL, "http://", "http://me:pa55w0rd@", 1) + "/none.onnx?token=t0k3n", "--sha256", hash}, "404"},
		{"server that is away", []string{"http://127.0.0.1:1/yolox_nano.onnx", "--sha256", hash}, "refused"},
		{"name that leads elsewhere", []string{good, "--name", "../elsewhere"}, "name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := install(t, c.args...)
			refused(t, o, exitModel, c.words)
			if strings.Contains(o.stderr, "pa55w0rd") || strings.Contains(o.stderr, "t0k3n") {
				t.Errorf("a secret is shown: %s", o.stderr)
			}
			emptyOrAbsent(t, filepath.Join(data, "models"))
			if _, err := os.Stat(filepath.Join(data, "elsewhere")); err == nil {
				t.Error("something was written outside the models' folder")
			}
			t.Log(strings.TrimSpace(o.stderr))
		})
	}
	t.Run("good URL", func(t *testing.T) {
		if o := install(t, web.URL+"/yolox_nano.onnx", "--sha256", strings.ToUpper(hash)); o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		if o := program(t, time.Minute, "model", "--data", data, "list"); o.code != 0 || !strings.Contains(o.stdout, Model) {
			t.Errorf("exit code %d: the list is %s%s", o.code, o.stdout, o.stderr)
		}
		if o := program(t, time.Minute, "model", "--data", data, "check", Model); o.code != 0 || !strings.Contains(o.stdout, hash) {
			t.Errorf("exit code %d: the check says %s%s", o.code, o.stdout, o.stderr)
		}
		refused(t, install(t, good), exitModel, "installed already")
	})
	t.Run("changed on the disk", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(data, "models", Model, "model.onnx"), network[1:], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, program(t, time.Minute, "model", "--data", data, "check", Model), exitModel, "sha256")
	})
}
