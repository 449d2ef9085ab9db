package boxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Model is the name under which a Kit has the default model installed.
const Model = "yolox-nano"

// modelFile is that model's file where it was not installed yet.
const modelFile = "yolox_nano.onnx"

// Kit is what the boxes of one test run share. Its folder is the caller's.
type Kit struct {
	// Binary is the built program.
	Binary string
	// Media is the folder of the test media; empty: there is none here.
	Media string
	// NoModel says why the default model is not installed; empty: it is.
	NoModel string

	data string // a data folder to copy
	env  []string
}

// NewKit builds the binary of the module around the working directory into dir,
// and prepares a data folder there. WATCHPOST_BINARY names a binary to use
// instead of building one.
func NewKit(ctx context.Context, dir string) (*Kit, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	k := &Kit{Binary: os.Getenv("WATCHPOST_BINARY"), Media: mediaDir(root), data: filepath.Join(dir, "data")}
	if err := os.MkdirAll(k.data, 0o755); err != nil {
		return nil, fmt.Errorf("make a kit: %w", err)
	}
	if k.Binary == "" {
		k.Binary = filepath.Join(dir, "watchpost")
		build := exec.CommandContext(ctx, "go", "build", "-o", k.Binary, "./appliance/cmd/watchpost")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the binary: %w\n%s", err, out)
		}
	}
	k.useLibrary(root)
	if out, err := k.Command(ctx, "worker", "--warm", "--data", k.data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("warm the plugin registry: %w\n%s", err, out)
	}
	k.NoModel = k.installModel(ctx, root)
	return k, nil
}

// Command is the binary with arguments, in the kit's environment. It is killed
// when ctx ends.
func (k *Kit) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.Binary, args...)
	cmd.Env = append(os.Environ(), k.env...)
	return cmd
}

// Data makes a data folder at dir, as a box has it after its first start.
func (k *Kit) Data(dir string) error {
	if err := os.CopyFS(dir, os.DirFS(k.data)); err != nil {
		return fmt.Errorf("copy the data folder: %w", err)
	}
	return nil
}

// Keep takes a survey's report over from a box's data folder, so that the boxes
// after it need not survey the machine again while they are measured.
func (k *Kit) Keep(dataDir string) error {
	const report = "hardware.json"
	raw, err := os.ReadFile(filepath.Join(dataDir, report))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the survey's report: %w", err)
	}
	return os.WriteFile(filepath.Join(k.data, report), raw, 0o600)
}

// useLibrary names the model runtime's library where the setup has put it into
// the checkout's data folder; elsewhere the program finds it by itself.
func (k *Kit) useLibrary(root string) {
	const name = "WATCHPOST_ORT_LIBRARY"
	if os.Getenv(name) != "" {
		return
	}
	path := filepath.Join(root, "data", "lib", "libonnxruntime.so.1")
	if _, err := os.Stat(path); err == nil {
		k.env = append(k.env, name+"="+path)
	}
}

// installModel installs the default model and says why it could not.
func (k *Kit) installModel(ctx context.Context, root string) string {
	folders := []string{os.Getenv("WATCHPOST_MODELS"), filepath.Join(k.Media, "models")}
	candidates := []string{filepath.Join(root, "data", "models", Model)}
	for _, f := range folders {
		if f != "" {
			candidates = append(candidates, filepath.Join(f, modelFile))
		}
	}
	why := fmt.Sprintf("%s is in none of %s", Model, strings.Join(candidates, ", "))
	for _, from := range candidates {
		if _, err := os.Stat(from); err != nil {
			continue
		}
		out, err := k.Command(ctx, "model", "--data", k.data, "install", "--name", Model, from).CombinedOutput()
		if err == nil {
			return ""
		}
		why = fmt.Sprintf("%s: %v: %s", from, err, bytes.TrimSpace(out))
	}
	return why
}

// mediaDir finds the test media: WATCHPOST_MEDIA, or beside the checkout.
func mediaDir(root string) string {
	dir := os.Getenv("WATCHPOST_MEDIA")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared", "media")
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod in %s or above it", dir)
		}
	}
}
