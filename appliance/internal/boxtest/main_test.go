package boxtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
	"github.com/watchpost/watchpost/gst/engine"
)

// shared is made once for all tests: building the binary and warming the plugin
// registry take longer than most of them.
var shared struct {
	once sync.Once
	dir  string
	kit  *Kit
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests that run beside each other wait for films that play at their own rate more
	// than for a processor.
	if err := flag.Set("test.parallel", strconv.Itoa(max(5, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := m.Run()
	if shared.dir != "" {
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// kit returns the shared Kit. Tests of the whole box are left out of -short runs.
func kit(t *testing.T) *Kit {
	t.Helper()
	if testing.Short() {
		t.Skip("short run: the whole box was not started")
	}
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "boxtest"); shared.err == nil {
			shared.kit, shared.err = NewKit(context.Background(), shared.dir)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.kit
}

// media returns a file of the test media.
func media(t *testing.T, name string) string {
	t.Helper()
	k := kit(t)
	if k.Media == "" {
		t.Skip("no test media: set WATCHPOST_MEDIA, or put them into ../shared/media beside the checkout")
	}
	return filepath.Join(k.Media, name)
}

// needModel skips a test that is about the default model.
func needModel(t *testing.T) {
	t.Helper()
	if why := kit(t).NoModel; why != "" {
		t.Skip("the default model could not be installed: " + why)
	}
}

// start starts a box with these cameras and whatever else the configuration
// says. At the test's end it is stopped, and what is wrong with that fails the
// test; a test that failed shows the log.
func start(t *testing.T, yaml string) *Box {
	t.Helper()
	return startIn(t, Config{Dir: t.TempDir(), YAML: yaml})
}

func startIn(t *testing.T, c Config) *Box {
	t.Helper()
	k := kit(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// The box must outlive this wait: the context of the start ends it otherwise.
	b, err := k.Start(context.WithoutCancel(ctx), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		if err := k.Keep(b.Data); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the box's log:\n%s", b.Log())
		}
	})
	return b
}

// camera asks for a camera.
func camera(t *testing.T, b *Box, id string) Camera {
	t.Helper()
	c, err := b.Camera(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await asks for a camera until ok says so.
func await(t *testing.T, b *Box, id string, within time.Duration, what string, ok func(Camera) bool) Camera {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		c := camera(t, b, id)
		if ok(c) {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("camera %s not within %v: %s; it is %s (%s): %+v", id, within, what, c.State, c.Reason, c)
		}
	}
}

func playing(c Camera) bool { return c.State == "playing" && c.Ledger.Decoded > 0 }

// watch connects a viewer, which leaves at the test's end.
func watch(t *testing.T, b *Box, id string, o viewer.Options) *viewer.Viewer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := b.Watch(ctx, id, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("close the viewer: %v", err)
		}
	})
	return v
}

// seen waits for a viewer.
func seen(t *testing.T, v *viewer.Viewer, within time.Duration, what string, done func(viewer.Stats) bool) viewer.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	s, err := v.Wait(ctx, done)
	if err != nil {
		t.Fatalf("viewer not within %v: %s: %v: %+v", within, what, err, s)
	}
	return s
}

// more waits for n more pictures, the next one included.
func more(t *testing.T, v *viewer.Viewer, n uint64, within time.Duration, what string) viewer.Stats {
	t.Helper()
	have := v.Stats().Units
	return seen(t, v, within, what, func(s viewer.Stats) bool { return s.Units >= have+n })
}

// balanced fails the test when frames of a camera are unaccounted for.
func balanced(t *testing.T, c Camera) {
	t.Helper()
	if !c.Ledger.Balanced || c.Ledger.Decoded != c.Ledger.Sum() {
		t.Errorf("camera %s: the ledger does not balance: %+v", c.ID, c.Ledger)
	}
}

// gstreamer starts GStreamer in the test process, for what only tests need: to
// make clips and to look into pictures.
func gstreamer(t *testing.T) {
	t.Helper()
	registry := filepath.Join(kit(t).data, "gst-registry.bin")
	if err := engine.Start(engine.Options{Registry: registry}); err != nil {
		t.Fatal(err)
	}
}

// oneLine tells whether an error is fit to be read by a person at a glance.
func oneLine(s string) error {
	switch s = strings.TrimSpace(s); {
	case s == "":
		return errors.New("nothing was said")
	case strings.Contains(s, "\n"):
		return fmt.Errorf("more than one line: %q", s)
	case len(s) > 400:
		return fmt.Errorf("too long: %q", s)
	}
	return nil
}
