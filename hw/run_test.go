package hw

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func surveyor(t *testing.T, mode string) Surveyor {
	b := box{"avdec_h264": right, "openh264enc": right}
	return Surveyor{Exe: os.Args[0], Env: env(t, mode, b), Cache: filepath.Join(t.TempDir(), "hardware.json"), Version: "1"}
}

func TestRunSurveyKeepsTheReport(t *testing.T) {
	s := surveyor(t, "survey")
	if _, ok := s.Cached(); ok {
		t.Fatal("a report out of nothing")
	}
	first, err := RunSurvey(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.Decoders()["h264"]; len(got) != 1 || first.Provisional {
		t.Errorf("%+v", first)
	}
	// From now on no process could answer.
	s.Exe = "/nowhere"
	start := time.Now()
	again, err := RunSurvey(context.Background(), s)
	took := time.Since(start)
	if err != nil || !reflect.DeepEqual(first, again) {
		t.Errorf("%v: %+v, first %+v", err, again, first)
	}
	if took > 50*time.Millisecond {
		t.Errorf("a kept report took %v", took)
	}
	t.Logf("a kept report took %v", took)

	other := s
	other.Version = "2"
	if r, err := RunSurvey(context.Background(), other); err == nil || !r.Provisional {
		t.Errorf("another program: %v, %v", r, err)
	}
	if err := os.WriteFile(s.Cache, []byte(`{"key":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Cached(); ok {
		t.Error("a broken file was believed")
	}
	if err := s.Forget(); err != nil {
		t.Error(err)
	}
	if err := s.Forget(); err != nil {
		t.Error("forgetting nothing:", err)
	}
}

func TestRunSurveyNoticesNewPlugins(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GST_PLUGIN_PATH", dir)
	s := surveyor(t, "survey")
	before := s.key()
	if before != s.key() {
		t.Fatal("the key changes by itself")
	}
	if err := os.WriteFile(filepath.Join(dir, "libgstnew.so"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The folder's time, in steps coarser than a test.
	if err := os.Chtimes(dir, time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if before == s.key() {
		t.Error("a new plugin goes unnoticed")
	}
}

func TestRunSurveyFailures(t *testing.T) {
	for mode, want := range map[string]string{
		"garbage": "read the report",
		"flood":   "longer than",
		"crash":   "crashed: SIGABRT: abort",
		"unknown": "unknown mode unknown",
	} {
		s := surveyor(t, mode)
		r, err := RunSurvey(context.Background(), s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", mode, err, want)
		}
		if r == nil || !r.Provisional || len(r.Decoders()) == 0 {
			t.Errorf("%s: nothing to go on with", mode)
		}
		if _, err := os.Stat(s.Cache); err == nil {
			t.Errorf("%s: a failed survey was kept", mode)
		}
	}
}

func TestRunSurveyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := RunSurvey(ctx, surveyor(t, "hang"))
	if err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestRunSurveyThatCannotKeep(t *testing.T) {
	s := surveyor(t, "survey")
	s.Cache = filepath.Join(t.TempDir(), "no", "folder", "hardware.json")
	r, err := RunSurvey(context.Background(), s)
	if err == nil || r == nil || r.Provisional {
		t.Errorf("%v, %+v", err, r)
	}
	s.Cache = ""
	if r, err := RunSurvey(context.Background(), s); err != nil || r.Provisional {
		t.Errorf("without a cache: %v, %+v", err, r)
	}
}
