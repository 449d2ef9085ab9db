package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

// TestMain lets the test's binary be a media worker, as the program's is.
// TestMain is the worker's process too: the box starts what it runs in.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "worker" {
		os.Exit(m.Run())
	}
	var o WorkerOptions
	flags := flag.NewFlagSet("worker", flag.ExitOnError)
	flags.StringVar(&o.DataDir, "data", "", "")
	flags.BoolVar(&o.Warm, "warm", false, "")
	flags.BoolVar(&o.Survey, "survey", false, "")
	flags.StringVar(&o.Prove, "prove", "", "")
	err := flags.Parse(os.Args[2:])
	if err == nil {
		err = program(io.Discard).Worker(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func program(log io.Writer) Program {
	return Program{Version: "test", Log: slog.New(slog.NewTextHandler(log, nil))}
}

func TestConfigure(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := func(name, text string) string {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	file("clip.mp4", "x")
	file("box.yaml", "listen: 127.0.0.1:9000\ndata_dir: here\nmodels: {default: motion}\ncameras:\n  - {id: gate, source: \"demo:\"}\n")
	file("bad.yaml", "listne: x\n")
	ids := func(c *config.Config) (s []string) {
		for _, k := range c.Cameras {
			s = append(s, k.ID+" "+k.Source)
		}
		return s
	}
	for _, c := range []struct {
		name   string
		o      RunOptions
		want   []string // cameras
		listen string
		model  string
		data   string
	}{
		{"a file's cameras", RunOptions{Config: "box.yaml"}, []string{"gate demo:"}, "127.0.0.1:9000", "motion", "here"},
		{
			"the command line wins", RunOptions{Config: "box.yaml", Sources: []string{"demo:", "clip.mp4"}, Listen: "127.0.0.1:1", Model: "other", DataDir: "there"},
			[]string{"", "clip " + filepath.Join(dir, "clip.mp4")}, "127.0.0.1:1", "other", "there",
		},
		{"two of one source", RunOptions{Sources: []string{"rtsp://u:p@cam/1", "rtsp://u:p@cam/1"}}, []string{"", ""}, "127.0.0.1:8080", "yolox-nano", "data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Program{Log: slog.New(slog.DiscardHandler)}.configure(c.o)
			if err != nil {
				t.Fatal(err)
			}
			got := ids(cfg)
			if len(got) != len(c.want) {
				t.Fatalf("cameras %q, want %q", got, c.want)
			}
			for i, w := range c.want {
				if w != "" && got[i] != w {
					t.Errorf("camera %d is %q, want %q", i, got[i], w)
				}
			}
			if slices.Sort(got); len(slices.Compact(got)) != len(c.want) {
				t.Errorf("ids are not unique: %q", got)
			}
			if cfg.Listen != c.listen || cfg.Models.Default != c.model || cfg.DataDir != filepath.Join(dir, c.data) {
				t.Errorf("listen %s, model %s, data %s", cfg.Listen, cfg.Models.Default, cfg.DataDir)
			}
		})
	}

	var bad *config.Errors
	if _, err := (Program{}).configure(RunOptions{Config: "bad.yaml"}); !errors.As(err, &bad) || !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "bad.yaml:1:1") {
		t.Errorf("a bad file: %v", err)
	}
	if _, err := (Program{}).configure(RunOptions{Config: "none.yaml"}); !errors.Is(err, ErrConfig) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := (Program{}).configure(RunOptions{Listen: "nonsense"}); !errors.As(err, &bad) {
		t.Errorf("a bad address: %v", err)
	}
	if _, err := (Program{}).configure(RunOptions{Sources: []string{"none.mp4"}}); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "none.mp4") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// With nothing said there is always something to see: a camera, or the scene.
func TestFirstSource(t *testing.T) {
	if s := firstSource(); s != "demo:" && !strings.HasPrefix(s, "/dev/video") {
		t.Errorf("the first source is %q", s)
	}
}

func TestFindModel(t *testing.T) {
	yolox := acceltest.Media(t, "models/yolox_nano.onnx")
	network, err := os.ReadFile(yolox)
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	if err := os.Mkdir(filepath.Join(store, "mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, "mine", "model.onnx"), network, 0o600); err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(store, "mine", "model.onnx")
	t.Chdir(filepath.Dir(yolox))
	p := program(io.Discard)
	for _, c := range []struct {
		dir, name, path string
		noted           bool
		err             error
	}{
		{dir: store, name: "motion"},
		{dir: store, name: "mine", path: installed},
		{dir: store, name: yolox, path: yolox},
		{dir: store, name: filepath.Base(yolox), path: yolox}, // relative to the working folder
		{dir: store, name: "./" + filepath.Base(yolox), path: yolox},
		{dir: t.TempDir(), noted: true}, // nothing named, nothing installed
		{dir: store, name: "none", err: ErrModel},
		{dir: store, name: "./none.onnx", err: ErrModel},
	} {
		got, err := p.findModel(c.dir, c.name)
		if !errors.Is(err, c.err) || got.path != c.path || (got.note != "") != c.noted {
			t.Errorf("%q: %+v, %v; want %q", c.name, got, err, c.path)
		}
	}
	// A camera whose model cannot be had keeps its picture.
	cfg := config.Default()
	cfg.Models.Dir = store
	if got := p.modelFor(cfg, config.Camera{ID: "gate", Model: "none"}, new(string)); got != "" {
		t.Errorf("a model that is not there is %q", got)
	}
	if got := p.modelFor(cfg, config.Camera{ID: "gate", Model: "mine"}, new(string)); got != installed {
		t.Errorf("the camera's own model is %q", got)
	}
}

func TestCheckModelTakesPaths(t *testing.T) {
	yolox := acceltest.Media(t, "models/yolox_nano.onnx")
	t.Chdir(filepath.Dir(yolox))
	p, o := program(io.Discard), ModelOptions{DataDir: t.TempDir()}
	for _, name := range []string{"none.onnx", "none", "./none"} {
		if err := p.CheckModel(t.Context(), o, name); !errors.Is(err, ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if isPath("yolox-nano") || !isPath("yolox_nano.onnx") || !isPath("./models/x") {
		t.Error("paths and names are mixed up")
	}
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "password")
	if _, err := readPassword(path, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the operator's that is missing: %v", err)
	}
	p, err := readPassword(path, true)
	if err != nil || len(p) < 20 {
		t.Fatalf("%q, %v", p, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
	if again, err := readPassword(path, true); err != nil || again != p {
		t.Errorf("the second start has %q, %v", again, err)
	}
	for text, want := range map[string]string{"pass word\r\nnote": "pass word", "\n": "", "": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readPassword(path, true); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := readPassword(filepath.Join(dir, "none", "password"), true); err == nil {
		t.Error("a folder that is not there was no error")
	}
}

func TestAnalyzePaths(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"clip.mp4": "x", "empty": "", "out/annotated.mp4": "x"} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(in("out/annotated.mp4"), in("link.mp4")); err != nil {
		t.Fatal(err)
	}
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name string
		o    AnalyzeOptions
		want error
	}{
		{"good", AnalyzeOptions{File: in("clip.mp4"), Out: in("new/out")}, nil},
		{"missing", AnalyzeOptions{File: in("none"), Out: in("out")}, ErrInput},
		{"empty", AnalyzeOptions{File: in("empty"), Out: in("out")}, ErrInput},
		{"folder", AnalyzeOptions{File: dir, Out: in("out")}, ErrInput},
		{"results in a file", AnalyzeOptions{File: in("clip.mp4"), Out: in("clip.mp4")}, ErrOutput},
		{"over itself", AnalyzeOptions{File: in("out/annotated.mp4"), Out: in("out")}, ErrUsage},
		{"over itself by a link", AnalyzeOptions{File: in("link.mp4"), Out: in("out")}, ErrUsage},
		{"threshold", AnalyzeOptions{File: in("clip.mp4"), Out: in("out"), Threshold: 1.5}, ErrUsage},
		{"threshold is no number", AnalyzeOptions{File: in("clip.mp4"), Out: in("out"), Threshold: float32(nan)}, ErrUsage},
		{"endless rate", AnalyzeOptions{File: in("clip.mp4"), Out: in("out"), MaxFPS: inf}, ErrUsage},
		{"threads", AnalyzeOptions{File: in("clip.mp4"), Out: in("out"), Threads: -1}, ErrUsage},
	} {
		file, out, err := analyzePaths(c.o)
		if !errors.Is(err, c.want) || err == nil && (!filepath.IsAbs(file) || !filepath.IsAbs(out)) {
			t.Errorf("%s: %s, %s, %v; want %v", c.name, file, out, err, c.want)
		}
	}
}

// Every kind of fault has an error kind, and so an exit code.
func TestKindsOfFaults(t *testing.T) {
	for k, want := range map[link.FaultKind]error{
		link.FaultNotFound: ErrInput, link.FaultRefused: ErrInput, link.FaultUnreachable: ErrInput, link.FaultNoVideo: ErrInput,
		link.FaultUnsupported: ErrInput, link.FaultDamaged: ErrInput, link.FaultModel: ErrModel, link.FaultOutput: ErrOutput, link.FaultInternal: errInternal,
	} {
		err := of(kindOf(k), "clip.mp4: %s", "says why")
		if !errors.Is(err, want) || err.Error() != "clip.mp4: says why" {
			t.Errorf("%s: %v", k, err)
		}
	}
	if err := of(ErrModel, "%w", model.ErrHash); !errors.Is(err, model.ErrHash) {
		t.Error("the cause is lost")
	}
}

// A box that cannot start says what to do and gives back what it had.
func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		says   string
	}{
		{"port of browsers taken", func(c *config.Config) { c.Listen = taken.Addr().String() }, "--listen"},
		{"port of viewers taken", func(c *config.Config) { c.WebRTC.Listen = taken.Addr().String() }, "webrtc.listen"},
		{"a camera without an id", func(c *config.Config) {
			c.Cameras = append(c.Cameras, config.Camera{Source: "demo:"})
		}, "camera"},
		{"password file missing", func(c *config.Config) { c.Auth.PasswordFile = filepath.Join(c.DataDir, "none") }, "password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.DataDir, cfg.Listen, cfg.WebRTC.Listen = t.TempDir(), free.Addr().String(), "127.0.0.1:0"
			c.change(cfg)
			if _, err := program(io.Discard).newBox(cfg); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v", err)
			}
			l, err := net.Listen("tcp", free.Addr().String())
			if err != nil {
				t.Fatalf("the port of browsers is kept: %v", err)
			}
			l.Close()
		})
	}
}
