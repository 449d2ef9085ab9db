package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/sys/unix"
)

// tusdEnv makes this program tusd with its own file store, in the folder named.
const tusdEnv = "WATCHPOST_BENCH_TUSD"

// serveTusd is the reference: tusd v2 over its file store, which never syncs.
func serveTusd(dir string) error {
	composer := handler.NewStoreComposer()
	filestore.New(dir).UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := handler.NewHandler(handler.Config{BasePath: "/api/v1/tus/", StoreComposer: composer})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("tusd: http://%s\n", l.Addr())
	return http.Serve(l, http.StripPrefix("/api/v1/tus/", h))
}

// startTusd runs serveTusd in a process of its own.
func (b *bench) startTusd(ctx context.Context) (*box, error) {
	dir := filepath.Join(b.tmp, "tusd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), tusdEnv+"="+dir)
	return started(cmd)
}

// startPushBox runs the program with a data folder of its own; its one camera is as
// good as none. extra is more configuration.
func (b *bench) startPushBox(ctx context.Context, listen, extra string) (*box, error) {
	return b.startBoxWith(ctx, listen, "cameras:\n  - {id: cam, source: \"test:black\", model: motion, capture: {width: 64, height: 64, fps: 1}}\n"+extra)
}

// startBoxWith runs the program with a data folder of its own; more is the cameras and
// what else its configuration has.
func (b *bench) startBoxWith(ctx context.Context, listen, more string) (*box, error) {
	dir := b.boxData()
	if err := b.freshData(dir); err != nil {
		return nil, err
	}
	cfg := fmt.Sprintf("listen: %q\ndata_dir: %q\nlog: {level: error}\nwebrtc: {listen: \"127.0.0.1:0\"}\nmodels: {dir: %q, default: yolox_nano}\n%s",
		listen, dir, filepath.Join(b.media, "models"), more)
	path := filepath.Join(b.tmp, "push.yaml")
	if err := os.WriteFile(path, []byte(cfg), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "run", "-c", path)
	cmd.Stderr = os.Stderr
	return started(cmd)
}

// boxData is the data folder of this bench's box: what one bench leaves is no matter
// of the next.
func (b *bench) boxData() string { return filepath.Join(b.tmp, "box-"+b.name) }

// freshData makes a data folder that knows what the checkout's knows of the machine.
func (b *bench) freshData(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"lib", "gst-registry.bin", "hardware.json"} {
		have := filepath.Join(b.data, name)
		if _, err := os.Stat(have); err != nil {
			continue // the box makes it
		}
		if err := os.Symlink(have, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// noise is n bytes that no disk can compress: one random block again and again.
type noise struct {
	block []byte
	at, n int64
}

func newNoise(n int64) *noise {
	block := make([]byte, 4<<20)
	_, _ = rand.Read(block) // never fails, says crypto/rand
	return &noise{block: block, n: n}
}

func (s *noise) Read(p []byte) (int, error) {
	if s.at == s.n {
		return 0, io.EOF
	}
	from := s.at % int64(len(s.block))
	n := copy(p[:min(int64(len(p)), s.n-s.at)], s.block[from:])
	s.at += int64(n)
	return n, nil
}

// tusClient sends without looking at what it sends, as fast as it is taken.
var tusClient = &http.Client{Transport: &http.Transport{WriteBufferSize: 1 << 20}}

// tusUpload creates an upload and sends it in one PATCH; it returns its address.
func tusUpload(ctx context.Context, base string, size int64, body io.Reader, metadata map[string]string) (string, error) {
	var meta []string
	for k, v := range metadata {
		meta = append(meta, k+" "+base64.StdEncoding.EncodeToString([]byte(v)))
	}
	create, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/tus/", nil)
	if err != nil {
		return "", err
	}
	create.Header.Set("Tus-Resumable", "1.0.0")
	create.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
	create.Header.Set("Upload-Metadata", strings.Join(meta, ","))
	res, err := tusClient.Do(create)
	if err != nil {
		return "", err
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // for the error alone
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("create an upload: %s: %s", res.Status, text)
	}
	where, err := create.URL.Parse(res.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	patch, err := http.NewRequestWithContext(ctx, http.MethodPatch, where.String(), io.NopCloser(body))
	if err != nil {
		return "", err
	}
	patch.ContentLength = size
	patch.Header.Set("Tus-Resumable", "1.0.0")
	patch.Header.Set("Upload-Offset", "0")
	patch.Header.Set("Content-Type", "application/offset+octet-stream")
	if res, err = tusClient.Do(patch); err != nil {
		return "", err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return "", fmt.Errorf("send an upload: %s", res.Status)
	}
	return where.String(), nil
}

func tusRemove(ctx context.Context, where string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, where, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	res, err := tusClient.Do(r)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("remove an upload: %s", res.Status)
	}
	return nil
}

// removeSoon removes an upload that may still be hashed.
func removeSoon(ctx context.Context, where string) (err error) {
	for range 200 {
		if err = tusRemove(ctx, where); err == nil {
			return nil
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return err
}

// uploadHTTP measures 1 GiB over tus with durable acknowledgement against tusd v2's
// own file store, which never syncs, in turns.
func uploadHTTP(ctx context.Context, b *bench) error {
	const size = 1 << 30
	const rounds = 5
	ours, err := b.startPushBox(ctx, "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer ours.stop()
	theirs, err := b.startTusd(ctx)
	if err != nil {
		return err
	}
	defer theirs.stop()
	sleep(ctx, 2*time.Second) // the camera's worker comes up
	var rates [2][]float64
	var grown []float64
	for round := range rounds {
		for i, x := range []*box{ours, theirs} {
			unix.Sync() // what the other left to be written is not this one's burden
			memory := watchRSS(ctx, x.cmd.Process.Pid)
			began := time.Now()
			where, err := tusUpload(ctx, x.url, size, newNoise(size), map[string]string{"filename": "noise", "no_job": "true"})
			if err != nil {
				memory()
				return err
			}
			rate := size / time.Since(began).Seconds() / 1e6
			growth := memory()
			rates[i] = append(rates[i], rate)
			if x == ours {
				grown = append(grown, growth)
			}
			fmt.Fprintf(os.Stderr, "round %d: %s: %.0f MB/s\n", round+1, []string{"watchpost", "tusd"}[i], rate)
			if err := removeSoon(ctx, where); err != nil {
				return err
			}
		}
	}
	b.report("watchpost, synced", median(rates[0]), "MB/s", told())
	b.report("tusd file store, never synced", median(rates[1]), "MB/s", told())
	b.report("ratio", median(rates[0])/median(rates[1]), "", atLeast(0.9))
	b.report("resident memory grows by", slices.Max(grown), "MiB", atMost(16))
	return nil
}

// watchRSS returns a function that ends the watch and tells by how many MiB the
// process's resident memory rose above what it was.
func watchRSS(ctx context.Context, pid int) (grown func() float64) {
	first := rssOf(pid)
	most := first
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			most = max(most, rssOf(pid))
			sleep(ctx, 10*time.Millisecond)
		}
	})
	return func() float64 {
		cancel()
		done.Wait()
		return float64(most-first) / (1 << 20)
	}
}

// rssOf is a process's resident memory in bytes; 0: it is gone.
func rssOf(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// timerEnv makes this program a process that does nothing but wait for its timer.
const timerEnv = "WATCHPOST_BENCH_TIMER"

// serveTimer prints, once its input ends, the 99.9th percentile of how late it was
// woken, in milliseconds: what the machine itself does to whoever waits.
func serveTimer(string) error {
	fmt.Println("timer: none")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	const period = 10 * time.Millisecond
	var late []float64
	for {
		due := time.Now().Add(period)
		select {
		case <-ended:
			slices.Sort(late)
			return fmt.Errorf("late %.3f", late[min(len(late)-1, len(late)*999/1000)])
		case <-time.After(period):
			late = append(late, 1000*time.Since(due).Seconds())
		}
	}
}

// machineDelay runs serveTimer until the function that it returns is called.
func (b *bench) machineDelay(ctx context.Context) (end func() (float64, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), timerEnv+"=yes")
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (ms float64, err error) {
		_ = in.Close()
		_ = cmd.Wait() // it ends as all of these do, with 1
		_, err = fmt.Sscanf(said.String(), "bench: late %f", &ms)
		return ms, err
	}, nil
}

// uploadMany measures 32 uploads at once: how fair they are served, and that
// nothing else of the control process waits for them.
func uploadMany(ctx context.Context, b *bench) error {
	const many = 32
	const size = 128 << 20
	x, err := b.startPushBox(ctx, "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer x.stop()
	sleep(ctx, 3*time.Second)
	const delays = "watchpost_loop_delay_seconds"
	before, err := x.loopHistogram(ctx, delays, "runtime")
	if err != nil {
		return err
	}
	machine, err := b.machineDelay(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	errs := make(chan error, many)
	took := make([]float64, many)
	for i := range many {
		go func() {
			_, err := tusUpload(ctx, x.url, size, newNoise(size), map[string]string{"filename": fmt.Sprint("noise ", i), "no_job": "true"})
			took[i] = time.Since(began).Seconds()
			errs <- err
		}()
	}
	// Rates while all are under way: at the moment when the first one is through.
	first := <-errs
	received, rerr := x.received(ctx)
	for range many - 1 {
		first = errors.Join(first, <-errs)
	}
	if err := errors.Join(first, rerr); err != nil {
		return err
	}
	after, err := x.loopHistogram(ctx, delays, "runtime")
	if err != nil {
		return err
	}
	slices.Sort(received)
	fmt.Fprintf(os.Stderr, "MiB received when the first is through: %v\n", inMiB(received))
	b.report("rate of all", many*size/slices.Max(took)/1e6, "MB/s", told())
	b.report("most received by least, when the first is through", float64(slices.Max(received))/float64(max(1, slices.Min(received))), "", atMost(2))
	b.report("slowest by fastest", slices.Max(took)/slices.Min(took), "", atMost(2))
	bare, err := machine()
	if err != nil {
		return err
	}
	b.report("delay p99.9 of a process that only waits, meanwhile", bare, "ms", told())
	b.report("control process delay p99.9", 1000*quantile(0.999, before, after), "ms", atMost(10))
	return nil
}

func inMiB(v []int64) []int64 {
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = n >> 20
	}
	return out
}

// received are the durable bytes of all uploads.
func (x *box) received(ctx context.Context) ([]int64, error) {
	var list struct {
		Uploads []struct{ Received int64 }
	}
	err := x.get(ctx, "/api/v1/uploads", func(r io.Reader) error { return json.NewDecoder(r).Decode(&list) })
	out := make([]int64, 0, len(list.Uploads))
	for _, u := range list.Uploads {
		out = append(out, u.Received)
	}
	return out, err
}
