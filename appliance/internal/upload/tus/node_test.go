package tus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/appliance/internal/upload/uploadtest"
	"github.com/watchpost/watchpost/state"
)

// wish is what one run of the client is to do, see testdata/client/client.mjs.
type wish struct {
	Endpoint       string            `json:"endpoint"`
	Files          []string          `json:"files"`
	ChunkSize      int               `json:"chunkSize,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	Headers        map[string]string `json:"headers,omitempty"`
	Store          string            `json:"store,omitempty"`
	RetryDelays    []int             `json:"retryDelays,omitempty"`
	DieAt          int               `json:"dieAt,omitempty"`
	PauseAt        int               `json:"pauseAt,omitempty"`
	Terminate      bool              `json:"terminate,omitempty"`
	Stream         bool              `json:"stream,omitempty"`
	Deferred       bool              `json:"deferred,omitempty"`
	DuringCreation bool              `json:"duringCreation,omitempty"`
	Override       bool              `json:"override,omitempty"`
	Protocol       string            `json:"protocol,omitempty"`
	Parallel       int               `json:"parallel,omitempty"`
}

// said is one line of what the client says.
type said struct {
	Event, URL, Text, Body string
	Offset                 int64
	Count, Status          int
}

type node struct {
	*box
	dir string
}

// run runs the client; its end is err.
func (n *node) run(w wish) (all []said, err error) {
	n.t.Helper()
	if w.Endpoint == "" {
		w.Endpoint = n.url + Path
	}
	arg, err := json.Marshal(w)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.mjs", string(arg))
	var errs bytes.Buffer
	cmd.Dir, cmd.Stderr, cmd.WaitDelay = n.dir, &errs, time.Second
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		var s said
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			n.t.Fatalf("the client says %q", line)
		}
		all = append(all, s)
	}
	if errs.Len() > 0 {
		n.t.Logf("client: %s", errs.String())
	}
	return all, err
}

// succeeds runs the client and returns the upload that it finished.
func (n *node) succeeds(w wish) (upload.Info, []said) {
	n.t.Helper()
	all, err := n.run(w)
	if err != nil || len(all) == 0 || all[len(all)-1].Event != "success" {
		n.t.Fatalf("%v: %+v", err, all)
	}
	return n.Complete(idOf(all[len(all)-1].URL)), all
}

func idOf(url string) string { return url[strings.LastIndex(url, "/")+1:] }

func event(all []said, name string) (said, bool) {
	for _, s := range all {
		if s.Event == name {
			return s, true
		}
	}
	return said{}, false
}

// TestTusJSClient is conformance as somebody else understands the protocol.
func TestTusJSClient(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: tus was not tried with tus-js-client")
	}
	dir := uploadtest.TusClient(t, "testdata/client")
	data, sum := uploadtest.Data(1, 6<<20+11)
	file := uploadtest.File(t, "walk.mp4", data)
	begin := func(t *testing.T, uc upload.Config) *node { return &node{start(t, uc, Config{}), dir} }
	same := func(t *testing.T, n *node, i upload.Info) {
		t.Helper()
		if i.SHA256 != sum || !bytes.Equal(n.Bytes(i.ID), data) {
			t.Errorf("other bytes are stored: %+v", i)
		}
	}

	for name, w := range map[string]wish{
		"at once":         {},
		"in parts":        {ChunkSize: 1 << 20},
		"during creation": {DuringCreation: true, ChunkSize: 2 << 20},
		"stream":          {Stream: true, ChunkSize: 1 << 20},
		"deferred":        {Stream: true, Deferred: true, ChunkSize: 1 << 20},
		"override":        {Override: true, ChunkSize: 3 << 20},
		"paused":          {PauseAt: 2 << 20},
		"draft 03":        {Protocol: "ietf-draft-03"},
		"draft 05":        {Protocol: "ietf-draft-05"},
		"draft, paused":   {Protocol: "ietf-draft-05", PauseAt: 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // starting Node takes longer than the upload
			n := begin(t, upload.Config{})
			w.Files = []string{file}
			i, _ := n.succeeds(w)
			same(t, n, i)
			if !strings.HasPrefix(w.Protocol, "ietf") && (i.Name != "walk.mp4" || i.Metadata["filetype"] != "video/mp4") {
				t.Errorf("named %q, %v", i.Name, i.Metadata)
			}
			if all := n.List(); len(all) != 1 {
				t.Errorf("%d uploads", len(all))
			}
		})
	}

	t.Run("killed, and the box started anew", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		w := wish{Files: []string{file}, Store: filepath.Join(t.TempDir(), "uploads.json"), ChunkSize: 1 << 20, DieAt: 3<<20 + 5}
		if all, err := n.run(w); err == nil {
			t.Fatalf("it lives: %+v", all)
		}
		before := n.List()[0]
		n.Reopen()
		n.serve(Config{}, intake.NewTurns(0, nil, nil))
		w.Endpoint, w.DieAt = "", 0
		// The address that it stored names the old port: only the path is the upload's.
		rewrite(t, w.Store, n.url)
		i, all := n.succeeds(w)
		same(t, n, i)
		if p, _ := event(all, "previous"); p.Count != 1 || i.ID != before.ID || before.Contiguous < 3<<20 {
			t.Errorf("found %d earlier uploads; went on with %s after %s with %d bytes", p.Count, i.ID, before.ID, before.Contiguous)
		}
		if s, ok := event(all, "stored"); !ok || s.Offset <= before.Contiguous {
			t.Errorf("began anew: %+v", all)
		}
	})

	t.Run("cut again and again", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		address := uploadtest.CutProxy(t, strings.TrimPrefix(n.url, "http://"), 2<<20, 10)
		delays := make([]int, 40)
		i, all := n.succeeds(wish{Endpoint: "http://" + address + Path, Files: []string{file}, ChunkSize: 1 << 20, RetryDelays: delays})
		same(t, n, i)
		t.Logf("%d parts were stored", len(all)-1)
	})

	t.Run("many files side by side", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		w := wish{ChunkSize: 1 << 20}
		sums := map[string]bool{}
		for k := range 6 {
			d, s := uploadtest.Data(uint64(20+k), 3<<20+k)
			w.Files = append(w.Files, uploadtest.File(t, fmt.Sprintf("f%d.mp4", k), d))
			sums[s] = true
		}
		all, err := n.run(w)
		if err != nil {
			t.Fatalf("%v: %+v", err, all)
		}
		for _, u := range n.List() {
			delete(sums, n.Complete(u.ID).SHA256)
		}
		if len(sums) > 0 {
			t.Errorf("%d files did not come: %+v", len(sums), all)
		}
	})

	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		all, err := n.run(wish{Files: []string{file}, ChunkSize: 1 << 20, PauseAt: 2 << 20, Terminate: true})
		if p, ok := event(all, "paused"); err != nil || !ok {
			t.Fatalf("%v: %+v", err, all)
		} else if _, err := n.Get(idOf(p.URL)); err == nil {
			t.Error("the upload is still there")
		}
	})

	t.Run("another file's hash", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		all, err := n.run(wish{Files: []string{file}, Metadata: map[string]string{"filename": "x", "sha256": strings.Repeat("0", 64)}})
		if e, ok := event(all, "error"); err != nil || !ok || e.Status != 460 || !strings.Contains(e.Body, "ERR_CHECKSUM_MISMATCH") {
			t.Errorf("%v: %+v", err, all)
		}
		if u := n.List()[0]; u.Status != state.UploadRefused {
			t.Errorf("%+v", u)
		}
	})

	t.Run("in parallel parts, which is not offered", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{})
		all, err := n.run(wish{Files: []string{file}, Parallel: 2})
		if e, ok := event(all, "error"); err != nil || !ok || e.Status != 400 || !strings.Contains(e.Body, "as one upload") || len(n.List()) != 0 {
			t.Errorf("%v: %+v", err, all)
		}
	})

	t.Run("too large", func(t *testing.T) {
		t.Parallel()
		n := begin(t, upload.Config{MaxSize: 1 << 20})
		all, err := n.run(wish{Files: []string{file}})
		if e, ok := event(all, "error"); err != nil || !ok || e.Status != 413 || !strings.Contains(e.Body, "uploads.max_size") {
			t.Errorf("%v: %+v", err, all)
		}
	})
}

// rewrite has the addresses that a client stored lead to another host and port.
func rewrite(t *testing.T, path, url string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).ReplaceAll(b, []byte(url))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
