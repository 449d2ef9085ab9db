package hw

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// surveyLimit is the most time that a whole survey may take: every candidate of
// a box timing out would come near it.
const surveyLimit = 3 * time.Minute

// maxReport bounds what a surveying process may say, in bytes.
const maxReport = 1 << 20

// Surveyor runs surveys in another process and remembers what they found.
type Surveyor struct {
	// Exe and Args start a process that prints a Report as JSON on its standard output.
	Exe  string
	Args []string
	// Env is the process's environment; nil: this one's.
	Env []string
	// Cache is the file that the report is kept in; empty: none is kept.
	Cache string
	// Version of the program: another one surveys anew.
	Version string
}

// RunSurvey returns the report of a survey in a process of its own, killed with its
// children when ctx ends. A kept report is returned in its place, within a few
// milliseconds, as long as the machine is the one that it was made on: the
// same kernel, devices, packages and program. The error says why there is none;
// the report is then Provisional's.
func RunSurvey(ctx context.Context, s Surveyor) (*Report, error) {
	if r, ok := s.Cached(); ok {
		return r, nil
	}
	// Taken before: what changes during the survey shall lead to another one.
	key := s.key()
	out, err := s.run(ctx)
	if err != nil {
		return Provisional(), fmt.Errorf("survey the hardware: %w", err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		return Provisional(), fmt.Errorf("survey the hardware: read the report: %w", err)
	}
	// What had no time to prove itself may only have met a busy machine: the next
	// start asks again.
	late := slices.ContainsFunc(r.Elements, func(e Element) bool { return e.Reason == timedOut(e.Candidate) })
	if s.Cache == "" || late {
		return &r, nil
	}
	if err := s.keep(key, &r); err != nil {
		return &r, fmt.Errorf("keep the survey's report: %w", err)
	}
	return &r, nil
}

// Cached returns the kept report, if there is one and it is still true.
func (s Surveyor) Cached() (*Report, bool) {
	if s.Cache == "" {
		return nil, false
	}
	raw, err := os.ReadFile(s.Cache)
	if err != nil {
		return nil, false
	}
	var k kept
	if json.Unmarshal(raw, &k) != nil || k.Report == nil || k.Key != s.key() {
		return nil, false
	}
	return k.Report, true
}

// Forget removes the kept report: the next RunSurvey surveys.
func (s Surveyor) Forget() error {
	if err := os.Remove(s.Cache); s.Cache != "" && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// kept is the cache file.
type kept struct {
	Key    string  `json:"key"`
	Report *Report `json:"report"`
}

func (s Surveyor) keep(key string, r *Report) error {
	raw, err := json.Marshal(kept{key, r})
	if err != nil {
		return err
	}
	// No sync: after a power cut the file is whole, old, or unreadable and made anew.
	tmp, err := os.CreateTemp(filepath.Dir(s.Cache), filepath.Base(s.Cache)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), s.Cache)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

func (s Surveyor) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyLimit)
	defer cancel()
	// The parent-death signal is tied to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := isolated(ctx, s.Exe, s.Args, s.Env)
	out := &limited{most: maxReport}
	says := &tail{most: maxStderr}
	cmd.Stdout, cmd.Stderr = out, says
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errors.New(died(err, says.String()))
	}
	if out.over {
		return nil, fmt.Errorf("the report is longer than %d bytes", maxReport)
	}
	return out.kept, nil
}

// limited keeps the beginning of what is written to it.
type limited struct {
	kept []byte
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - len(l.kept)
	l.over = l.over || len(p) > room
	l.kept = append(l.kept, p[:min(len(p), room)]...)
	return len(p), nil
}

// key identifies what a report depends on. It costs some file look-ups.
func (s Surveyor) key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", s.Version, kernelRelease(), deviceList())
	// Reports of other tables or clips are not this program's, whatever its version says.
	fmt.Fprintf(h, "%v %v\n", decoders(), encoders())
	for _, path := range pluginPlaces() {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(h, "%s %d %d\n", path, info.ModTime().UnixNano(), info.Size())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// pluginPlaces are the files and folders whose time changes when an element,
// or a library that one works through, is installed, replaced or removed.
func pluginPlaces() []string {
	places := []string{"/var/lib/dpkg/status"}
	for _, pattern := range []string{
		"/usr/lib/*/gstreamer-1.0", "/usr/lib/gstreamer-1.0", "/usr/lib64/gstreamer-1.0",
		"/usr/local/lib/*/gstreamer-1.0", "/usr/local/lib/gstreamer-1.0",
		"/usr/lib/*/libgstreamer-1.0.so.0", "/usr/lib/*/dri",
	} {
		found, _ := filepath.Glob(pattern)
		places = append(places, found...)
	}
	for _, name := range []string{"GST_PLUGIN_PATH", "GST_PLUGIN_PATH_1_0", "GST_PLUGIN_SYSTEM_PATH", "GST_PLUGIN_SYSTEM_PATH_1_0"} {
		places = append(places, strings.FieldsFunc(os.Getenv(name), func(r rune) bool { return r == os.PathListSeparator })...)
	}
	return places
}
