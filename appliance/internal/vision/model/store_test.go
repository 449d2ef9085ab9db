package model

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/hw/accel/acceltest"
)

func store(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "models"))
	if err != nil {
		t.Fatal(err)
	}
	// Whatever a test did, no unfinished install may be left behind.
	t.Cleanup(func() {
		entries, err := os.ReadDir(s.Dir())
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				t.Errorf("%s was left in the store", e.Name())
			}
		}
	})
	return s
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// yolov8 is a model of two classes that always sees one object of class 1.
func yolov8() []byte {
	return acceltest.Detector(64, 64, acceltest.Constant{Name: "output0", Dims: []int64{1, 6, 2},
		Data: []float32{32, 0, 32, 0, 16, 0, 16, 0, 0.1, 0, 0.9, 0}})
}

const yolov8Card = "name: toy\nlabels: [cat, dog]\noutput: {family: yolov8}\n"

// TestInstallKnownFiles: the well-known files need nothing but themselves.
func TestInstallKnownFiles(t *testing.T) {
	rt, s := acceltest.Runtime(t), store(t)
	for file, name := range map[string]string{"yolox_nano.onnx": "yolox-nano", "FastestDet.onnx": "fastestdet"} {
		m, err := s.Install(context.Background(), rt, acceltest.Media(t, "models/"+file), InstallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != name || m.Path != filepath.Join(s.Dir(), name, "model.onnx") {
			t.Errorf("installed %+v", m)
		}
		r, err := s.Check(rt, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %dx%d, %s, load %v, run %v", name, r.Width, r.Height, r.Provider, r.Load, r.Run)
	}
	models, err := s.List()
	if err != nil || len(models) != 2 || models[0].Name != "fastestdet" || models[1].Name != "yolox-nano" {
		t.Errorf("List() = %v, %v", models, err)
	}
	// A folder of bare files, as WATCHPOST_MODELS may name one.
	if m, err := Read(acceltest.Media(t, "models/yolox_nano.onnx")); err != nil || m.Name != "yolox-nano" {
		t.Errorf("Read of the bare file: %v, %v", m.Name, err)
	}
}

func TestInstallLife(t *testing.T) {
	rt, s, dir := acceltest.Runtime(t), store(t), t.TempDir()
	ctx := context.Background()
	file := write(t, filepath.Join(dir, "toy.onnx"), yolov8())
	if _, err := s.Install(ctx, rt, file, InstallOptions{}); !errors.Is(err, ErrNoCard) {
		t.Errorf("install without a card: %v", err)
	}
	write(t, filepath.Join(dir, "toy.yaml"), []byte(yolov8Card))
	m, err := s.Install(ctx, rt, file, InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "toy" || m.Card.SHA256 != sum(yolov8()) || len(m.Card.Labels) != 2 {
		t.Errorf("installed %+v", m)
	}
	if _, err := s.Install(ctx, rt, file, InstallOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("second install: %v", err)
	}
	if _, err := s.Install(ctx, rt, file, InstallOptions{Replace: true}); err != nil {
		t.Errorf("replace: %v", err)
	}
	// A model's folder is a source as well.
	if m, err = s.Install(ctx, rt, filepath.Join(s.Dir(), "toy"), InstallOptions{Name: "copy"}); err != nil || m.Name != "copy" {
		t.Errorf("install of a folder: %+v, %v", m, err)
	}
	if got, err := s.Get("copy"); err != nil || got.Name != "copy" {
		t.Errorf("Get(copy) = %+v, %v", got, err)
	}
	// What changed under the card is not run.
	write(t, m.Path, append(yolov8(), 0x40, 1))
	if _, err := s.Check(rt, "copy"); !errors.Is(err, ErrHash) {
		t.Errorf("Check of a changed file: %v", err)
	}
	if _, err := NewDetector(rt, m, Options{}); !errors.Is(err, ErrHash) {
		t.Errorf("NewDetector of a changed file: %v", err)
	}
	if err := s.Remove("copy"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"copy", "", "..", ".hidden", "a/b", "nothing"} {
		if _, err := s.Get(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v", name, err)
		}
	}
	if _, err := s.Get("nothing"); !strings.Contains(err.Error(), "installed are toy") {
		t.Errorf("the error does not say what there is: %v", err)
	}
	// A damaged model is reported; the others are listed.
	write(t, filepath.Join(s.Dir(), "bad", "model.onnx"), yolov8())
	write(t, filepath.Join(s.Dir(), "bad", "card.yaml"), []byte("name: bad\n  x"))
	models, err := s.List()
	if len(models) != 1 || err == nil || !strings.Contains(err.Error(), "card.yaml:") {
		t.Errorf("List() = %v, %v", models, err)
	}
}

func TestInstallRefuses(t *testing.T) {
	rt, s, dir := acceltest.Runtime(t), store(t), t.TempDir()
	toy := write(t, filepath.Join(dir, "toy.onnx"), yolov8())
	card := func(text string) string { return write(t, filepath.Join(t.TempDir(), "card.yaml"), []byte(text)) }
	for _, c := range []struct {
		name, from string
		o          InstallOptions
		is         error
		says       string
	}{
		{"nothing there", filepath.Join(dir, "none.onnx"), InstallOptions{}, ErrNotFound, "none.onnx"},
		{"another file", write(t, filepath.Join(dir, "a.txt"), nil), InstallOptions{}, ErrNotFound, ".onnx"},
		{"empty folder", t.TempDir(), InstallOptions{}, ErrNotFound, "0 .onnx files"},
		{"hash", toy, InstallOptions{SHA256: strings.Repeat("a", 64), Family: "yolov8"}, ErrHash, "asked for was aaa"},
		{"no hash at all", toy, InstallOptions{SHA256: "abc"}, nil, "64 hexadecimal digits"},
		{"card's hash", toy, InstallOptions{Card: card(yolov8Card + "sha256: " + strings.Repeat("b", 64) + "\n")}, ErrHash, "its card says bbb"},
		{"no model", write(t, filepath.Join(dir, "gif.onnx"), []byte("GIF89a")), InstallOptions{Family: "yolox"}, nil, "load model"},
		{"other family", toy, InstallOptions{Card: card(strings.Replace(yolov8Card, "yolov8", "yolox", 1))}, nil, "check the card's family"},
		{"other labels", toy, InstallOptions{Family: "yolov8"}, nil, "80 classes"},
		{"card that is wrong", toy, InstallOptions{Card: card("name: toy\nlabel: x\n")}, nil, "2:1"},
		{"card that is not there", toy, InstallOptions{Card: filepath.Join(dir, "no.yaml")}, os.ErrNotExist, "no.yaml"},
		{"unknown family", toy, InstallOptions{Family: "ssd"}, nil, "unknown output family"},
		{"name", toy, InstallOptions{Card: card(yolov8Card), Name: "../out"}, nil, "name"},
		{"wrong layout", toy, InstallOptions{Card: card(yolov8Card + "input: {layout: nhwc}\n")}, nil, "input.layout"},
		{"url without hash", "https://user:secret@127.0.0.1:1/x.onnx?token=secret", InstallOptions{}, nil, "needs its sha256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := s.Install(context.Background(), rt, c.from, c.o)
			if err == nil {
				t.Fatalf("installed %+v", m)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want it to say %q", err, c.says)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
		})
	}
	if models, err := s.List(); len(models) != 0 || err != nil {
		t.Errorf("in the store: %v, %v", models, err)
	}
}

func TestInstallFromURL(t *testing.T) {
	rt, s := acceltest.Runtime(t), store(t)
	data := acceltest.Detector(64, 64, acceltest.Constant{Name: "out", Dims: []int64{1, 84, 1}, Data: make([]float32, 84)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dir/My Model.onnx":
			w.Write(data)
		case "/huge.onnx":
			w.Header().Set("Content-Length", "999999999999")
		case "/cut.onnx":
			w.Header().Set("Content-Length", "5000")
			w.Write(data[:100])
		case "/moved.onnx":
			http.Redirect(w, r, "/dir/My%20Model.onnx", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	var done, total int64
	o := InstallOptions{SHA256: strings.ToUpper(sum(data)), Family: "yolov8", Progress: func(d, n int64) { done, total = d, n }}
	m, err := s.Install(context.Background(), rt, server.URL+"/dir/My%20Model.onnx?token=secret", o)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "my-20model" || done != int64(len(data)) || total != done || strings.Contains(m.Card.Source, "secret") {
		t.Errorf("installed %+v, progress %d of %d", m, done, total)
	}
	o.Name = "moved"
	if _, err := s.Install(context.Background(), rt, server.URL+"/moved.onnx", o); err != nil {
		t.Error(err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx        context.Context
		path, says string
	}{
		{context.Background(), "/none.onnx?token=secret", "404"},
		{context.Background(), "/huge.onnx", "more than"},
		{context.Background(), "/cut.onnx", "unexpected EOF"},
		{stopped, "/dir/My%20Model.onnx", "canceled"},
	} {
		_, err := s.Install(c.ctx, rt, server.URL+c.path, InstallOptions{SHA256: sum(data), Family: "yolov8", Name: "x"})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want it to say %q", c.path, err, c.says)
		}
	}
	other := InstallOptions{SHA256: strings.Repeat("0", 64), Family: "yolov8", Name: "y"}
	if _, err := s.Install(context.Background(), rt, server.URL+"/moved.onnx", other); !errors.Is(err, ErrHash) {
		t.Errorf("another hash: %v", err)
	}
	if _, err := s.Get("y"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what differed from its hash is in the store: %v", err)
	}
}

// TestStaleInstall: what a killed install left is cleared away when it is old.
func TestStaleInstall(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, staging+"old"), filepath.Join(dir, staging+"young")
	write(t, filepath.Join(old, "model.onnx"), []byte("half"))
	write(t, filepath.Join(young, "model.onnx"), []byte("half"))
	past := fileTime(t, old).Add(-2 * stale)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if exists(old) || !exists(young) {
		t.Errorf("old is there: %v; young is there: %v", exists(old), exists(young))
	}
	if models, err := s.List(); len(models) != 0 || err != nil {
		t.Errorf("List() = %v, %v", models, err)
	}
}
