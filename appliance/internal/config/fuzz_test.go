package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// FuzzParse: whatever the bytes, Parse neither panics nor returns anything but
// *Errors with a place inside the file; what it accepts is valid and is read
// back the same after being written.
func FuzzParse(f *testing.F) {
	f.Add(string(Example))
	for _, text := range []string{
		"", "{}", "[]", "log: {level: warn}", cam + "name: \"x\\\"y\"\n", cam + "name: |\n    a\n", "? a\n: b\n",
		"listen: &a x\nlog: *a\n", "<<: {a: 1}\n", "log: !!map {}\n", "a: {b: [c, {d: e}]}\n", "'': 1\n", "- - - a\n",
		"webrtc: {ice_servers: [{urls: ['turn:[::1]:3478'], username: x, credential: y}]}", "--- >\n x\n...\n", "a: 'x\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// A hang is a fault as a panic is; the fuzzer itself would just wait.
		hang := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("still parsing %q", text)) })
		defer hang.Stop()
		c, err := Parse("f", []byte(text))
		if err != nil {
			var errs *Errors
			if !errors.As(err, &errs) || len(errs.Entries) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			lines := strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n") + 1
			for _, e := range errs.Entries {
				if e.Line < 1 || e.Line > lines+1 || e.Column < 1 || e.Message == "" {
					t.Fatalf("%d lines, but the error is at %+v", lines, e)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, but not valid: %v", err)
		}
		checkRoundTrip(t, c)
	})
}

// FuzzName: any text that may stand in a file survives being written.
func FuzzName(f *testing.F) {
	f.Add("a: b", "person", "rtsp://u:p@h")
	f.Add("\"", "'", "x.mp4")
	f.Add("0x10", "1_000", "2001-01-01")
	f.Fuzz(func(t *testing.T, name, class, source string) {
		c := Default()
		camera := FromSource(source)
		camera.Name, camera.Classes = name, []string{class}
		c.Cameras = []Camera{camera}
		if c.Validate() == nil {
			checkRoundTrip(t, c)
		}
	})
}

// FuzzSource: an id made of any source is valid, and no password that stands
// before an @ comes through Redact.
func FuzzSource(f *testing.F) {
	f.Add("rtsp://u:p@h/s")
	f.Add("/a/b.mp4")
	f.Fuzz(func(t *testing.T, source string) {
		camera := FromSource(source)
		c := Default()
		c.Cameras = []Camera{camera, FromSource(source, camera)}
		var errs *Errors
		if errors.As(c.Validate(), &errs) {
			for _, e := range errs.Entries {
				if strings.HasSuffix(e.Path, ".id") || strings.HasSuffix(e.Path, ".name") {
					t.Fatalf("%q: %v", source, e)
				}
			}
		}
		secret := "rtsp://user:S3CRET" + source + "@host/s"
		if got := plan.Redact(secret); strings.Contains(got, "S3CRET") {
			t.Fatalf("%q: %s", secret, got)
		}
		if problem, suggestion := problemOf(secret); strings.Contains(problem+suggestion, "S3CRET") {
			t.Fatalf("%q: %s; %s", secret, problem, suggestion)
		}
	})
}

func TestNoErrorQuotesASecret(t *testing.T) {
	// The address with its password, wherever a hand may put it.
	const address = "rtsp://admin:S3CRET@cam/s?password=S3CRET"
	for _, text := range []string{
		address, "- " + address, "source: " + address, "cameras: " + address, "cameras: ['" + address + "']",
		"log: {level: '" + address + "'}", "listen: '" + address + "'", "webrtc: {public_addresses: ['" + address + "']}",
		"webrtc: {ice_servers: [{urls: ['" + address + "']}]}", "cameras: [{id: '" + address + "'}]",
		"cameras: [{id: a, source: x, model: '" + address + "'}]", "cameras: [{id: a, source: x, threshold: '" + address + "'}]",
		"cameras: [{id: a, source: 'http" + address[4:] + "', capture: {width: 1}}]", "cameras: [{id: a, source: 'srt" + address[4:] + "'}]", "cameras: [{id: a, source: ' " + address + "'}]",
		"cameras: [{id: a, source: x, stall_after: '" + address + "'}]", "models: {default: '" + address + "'}",
		"'" + address + "': 1", "cameras: [{id: a, source: \"" + address + "\\n\"}]", "health: {stall_warn: '" + address + "'}",
		"cameras: [{id: a, source: x, picture: {bitrate: '" + address + "'}}]", "data_dir: [" + address + "]",
	} {
		_, err := Parse("f", []byte(text))
		if err == nil {
			t.Errorf("%s: accepted", text)
		} else if strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: %v", text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("cameras:\n- source: "+address+"\n  id: -"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("%v", err)
	}
}
