package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestExampleParsesAndShowsEveryKey(t *testing.T) {
	c, err := Parse("example.yaml", Example)
	if err != nil {
		t.Fatal(err)
	}
	front := c.Cameras[0]
	want := Camera{
		ID: "front", Name: "Front door", Source: "rtsp://viewer:secret@192.0.2.10:554/stream1",
		Transport: "tcp", Model: "yolox-nano", Threshold: 0.35, Classes: []string{"person", "car"},
		MotionGate: true, MaxFPS: 10, Boxes: Client, StallAfter: 5 * time.Second,
		Picture: Picture{MaxHeight: 720, Bitrate: 2_000_000, KeyframeInterval: 2 * time.Second},
	}
	if !reflect.DeepEqual(front, want) {
		t.Errorf("front:\n got %+v\nwant %+v", front, want)
	}
	if got := c.Cameras[1]; got.StallAfter != 5*time.Second || got.Capture != (Capture{1280, 720, 30}) {
		t.Errorf("porch: %+v", got)
	}
	// Every key that there is must be in the example, with its meaning.
	for _, name := range keyNames(reflect.TypeFor[Config]()) {
		if !strings.Contains(string(Example), name+":") {
			t.Errorf("the example does not show %s", name)
		}
	}
}

func keyNames(t reflect.Type) []string {
	var names []string
	for _, f := range fieldsOf(t) {
		names = append(names, f.name)
		ft := f.typ
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct {
			names = append(names, keyNames(ft)...)
		}
	}
	return names
}

func TestNothingGivesTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "{}", "cameras:\nwebrtc:\n", "\ufefflisten: 127.0.0.1:8080\r\n"} {
		c, err := Parse("x", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %+v", text, c)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestLoadResolvesPathsFromTheFilesFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "box.yaml")
	text := "models: {dir: m}\nauth: {password_file: /etc/pw}\ncameras:\n" +
		"- {id: a, source: clip.mp4}\n- {id: b, source: 'rtsp://h/s'}\n- {id: c, source: 'test:ball'}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.DataDir, c.ModelsDir(), c.Auth.PasswordFile, c.TraceDir(), c.Cameras[0].Source, c.Cameras[1].Source, c.Cameras[2].Source}
	want := []string{dir + "/data", dir + "/m", "/etc/pw", dir + "/data/traces", dir + "/clip.mp4", "rtsp://h/s", "test:ball"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}

	_, err = Load(filepath.Join(dir, "missing.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("missing file: %v", err)
	}
}

func TestDerivedValues(t *testing.T) {
	for _, tt := range []struct {
		listen, media, wantMedia string
		loopback                 bool
	}{
		{"127.0.0.1:8080", "", "127.0.0.1:8555", true},
		{"localhost:80", "", "localhost:8555", true},
		{"[::1]:8080", "", "[::1]:8555", true},
		{"[::ffff:127.0.0.1]:8080", "", "[::ffff:127.0.0.1]:8555", true},
		{":8080", "", ":8555", false},
		{"0.0.0.0:8080", ":9000", ":9000", false},
		{"192.168.1.4:8080", "", "192.168.1.4:8555", false},
		{"localhost.example.org:80", "", "localhost.example.org:8555", false},
	} {
		c := Default()
		c.Listen, c.WebRTC.Listen = tt.listen, tt.media
		if c.Loopback() != tt.loopback || c.MediaListen() != tt.wantMedia {
			t.Errorf("%s: loopback %v, media %s", tt.listen, c.Loopback(), c.MediaListen())
		}
	}
	c := Default()
	if p, generate := c.PasswordFile(); p != "data/password" || !generate {
		t.Errorf("password file %s, generate %v", p, generate)
	}
	if m := c.ModelOf(Camera{}); m != "yolox-nano" {
		t.Errorf("model %s", m)
	}
	if m := c.ModelOf(Camera{Model: Motion}); m != Motion {
		t.Errorf("model %s", m)
	}
}

func TestParseBitrate(t *testing.T) {
	for text, want := range map[string]Bitrate{
		"0": 0, "1500000": 1_500_000, "2Mbit": 2_000_000, "2.5 Mbit/s": 2_500_000, "800kbit": 800_000,
		"800 kbps": 800_000, "3M": 3_000_000, "1gbit": 1_000_000_000, "64bit": 64, "5Mbits": 5_000_000,
	} {
		got, err := ParseBitrate(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if back, err := ParseBitrate(got.String()); err != nil || back != got {
			t.Errorf("%q: written as %s, read back as %d, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"", "fast", "-1", "2MB", "2 Mbyte", "1.5.2M", ".5M", "5.M", "9Gbit", "1e9", "Mbit", "2Mbit/h"} {
		if got, err := ParseBitrate(text); err == nil {
			t.Errorf("%q: accepted as %d", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1500000": 1_500_000, "2MiB": 2 << 20, "2.5 GiB": 5 << 29, "800kB": 800_000,
		"3M": 3_000_000, "1 TiB": 1 << 40, "64b": 64, "5gi": 5 << 30,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if back, err := ParseSize(got.String()); err != nil || back != got {
			t.Errorf("%q: written as %s, read back as %d, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"", "big", "-1", "2Mbit", "1.5.2M", ".5M", "5.M", "9000000TiB", "1e9", "MiB", "2 i", "iB", "Inf", "0x10", "1_0"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: accepted as %d", text, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	c, err := Parse("example.yaml", Example)
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, c)
	c.Cameras[0].Name = `- "odd": #name, 'quoted' \ {x} [y] * & ! % @ ` + "`|>"
	c.Cameras[0].Classes = []string{"true", "null", "~", "012", "1e3", "no", "traffic light", "0x1F", "=", "<<", ".inf"}
	checkRoundTrip(t, c)
}

func checkRoundTrip(t *testing.T, c *Config) {
	t.Helper()
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("back", text)
	if err != nil {
		t.Fatalf("what was written is not read back: %v\n%s", err, text)
	}
	if !reflect.DeepEqual(normal(c), normal(back)) {
		t.Fatalf("read back differently:\n%+v\n%+v\n%s", c, back, text)
	}
}

// normal makes an absent list and an empty one the same.
func normal(c *Config) string {
	return strings.ReplaceAll(fmt.Sprintf("%#v", *c), "(nil)", "{}")
}
