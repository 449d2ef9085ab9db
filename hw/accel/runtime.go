package accel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// LibraryEnv is the environment variable that names the ONNX Runtime library.
const LibraryEnv = "WATCHPOST_ORT_LIBRARY"

// telemetryEnv turns off what newer ONNX Runtimes as built by their makers for Linux
// (1.30 was seen to) do by themselves once they are loaded: count runs, name the
// machine, keep files in the user's cache and in /tmp, and send it all home. A box
// that sees people's yards tells nobody anything.
const telemetryEnv = "ORT_DISABLE_TELEMETRY"

// MinVersion is the oldest ONNX Runtime that has the C interface (API 24) that
// this build was made for. Newer ones keep serving it.
const MinVersion = "1.24"

// The errors that callers tell apart.
var (
	// ErrNoLibrary: there is no ONNX Runtime library where it was looked for.
	ErrNoLibrary = errors.New("ONNX Runtime not found")
	// ErrLibrary: the file is there and cannot be used: it is no ONNX Runtime,
	// one for another processor, or one older than MinVersion.
	ErrLibrary = errors.New("ONNX Runtime not usable")
	// ErrOpen: the process has a Runtime already.
	ErrOpen = errors.New("ONNX Runtime is open already in this process")
	// ErrClosed: the session or runtime was closed.
	ErrClosed = errors.New("closed")
)

// systemLibraries are where distributions put the library.
var systemLibraries = []string{
	"/usr/lib/x86_64-linux-gnu/libonnxruntime.so.1",
	"/usr/lib/aarch64-linux-gnu/libonnxruntime.so.1",
	"/usr/local/lib/libonnxruntime.so.1",
	"/usr/lib/libonnxruntime.so.1",
}

// Runtime is the process's ONNX Runtime.
type Runtime struct {
	library string
	version string
	closed  bool
}

// Find returns the path of the ONNX Runtime library to use: the one named by
// WATCHPOST_ORT_LIBRARY (even if it is not there: a wrong setting shall be seen
// and not be passed over), else dataDir/lib, else the system's. It returns ""
// when there is none.
func Find(dataDir string) string {
	if p := os.Getenv(LibraryEnv); p != "" {
		return p
	}
	var candidates []string
	if dataDir != "" {
		lib := filepath.Join(dataDir, "lib")
		candidates = append(candidates,
			filepath.Join(lib, "libonnxruntime.so.1"), filepath.Join(lib, "libonnxruntime.so"))
	}
	for _, p := range append(candidates, systemLibraries...) {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// Open loads the library, once per process. Errors match ErrNoLibrary,
// ErrLibrary or ErrOpen.
func Open(library string) (*Runtime, error) {
	if library == "" {
		return nil, fmt.Errorf("%w: run scripts/setup, or set %s to a libonnxruntime.so of version %s or later",
			ErrNoLibrary, LibraryEnv, MinVersion)
	}
	st, err := os.Stat(library)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: no file %s: run scripts/setup, or correct %s", ErrNoLibrary, library, LibraryEnv)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrLibrary, err)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a file: name the libonnxruntime.so itself", ErrLibrary, library)
	}
	if ort.IsInitialized() {
		return nil, ErrOpen
	}
	if err := os.Setenv(telemetryEnv, "1"); err != nil {
		return nil, fmt.Errorf("%w: turn its telemetry off: %w", ErrLibrary, err)
	}
	ort.SetSharedLibraryPath(library)
	// The library writes to stderr what it returns as an error as well; what it
	// returns is ours to report, once.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrLibrary, explain(library, err))
	}
	return &Runtime{library: library, version: ort.GetVersion()}, nil
}

// explain says in words what InitializeEnvironment's errors mean.
func explain(library string, err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "setting ORT API base"):
		// The loader's result 2: the library does not offer our API version.
		name := library
		if real, err := filepath.EvalSymlinks(library); err == nil {
			name = real
		}
		return fmt.Sprintf("%s is older than version %s: install a newer ONNX Runtime (scripts/setup does) or correct %s",
			name, MinVersion, LibraryEnv)
	case strings.Contains(text, "OrtGetApiBase"):
		return fmt.Sprintf("%s is a library, but not ONNX Runtime: correct %s", library, LibraryEnv)
	case strings.Contains(text, "invalid ELF header"), strings.Contains(text, "file too short"),
		strings.Contains(text, "wrong ELF class"), strings.Contains(text, "cannot open shared object file"):
		return fmt.Sprintf("%s does not load on this machine (%s): run scripts/setup again", library, lastPart(text))
	default:
		return lastPart(text)
	}
}

// lastPart cuts the binding's own prefixes off a message.
func lastPart(text string) string {
	if i := strings.LastIndex(text, "\": "); i >= 0 {
		return text[i+3:]
	}
	return text
}

// Library is the path that the runtime was loaded from.
func (r *Runtime) Library() string { return r.library }

// Version is the library's version ("1.24.1").
func (r *Runtime) Version() string { return r.version }

// Close releases the environment. All sessions must be closed before.
func (r *Runtime) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if err := ort.DestroyEnvironment(); err != nil {
		return fmt.Errorf("close ONNX Runtime: %w", err)
	}
	return nil
}
