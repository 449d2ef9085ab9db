package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

const (
	// loadEnv makes this program the box's clients: a loadOrder.
	loadEnv = "WATCHPOST_BENCH_LOAD"
	// loadNiceness of the clients, who share the cores with the box: that of its media
	// workers. The control process has 0.
	loadNiceness = 5
)

// loadOrder is what the clients do.
type loadOrder struct {
	URL, Clip                  string
	Viewers, Pictures, Uploads int
	Size                       int64 // of an upload, bytes
}

// loadReport is what became of them.
type loadReport struct {
	// Lost ended otherwise than planned, Disconnects are times at which ICE had missed
	// the box for seconds.
	ViewersLost, PicturesLost, UploadsLost int64
	Disconnects                            int64
	ViewerUnits                            uint64
	PictureSessions, PictureDocuments      int64
	PictureBytes                           int64
	UploadsDone, UploadBytes               int64
	Seconds                                float64
	CPU                                    float64 // seconds
}

// load is the clients' process.
type load struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startLoad returns when all clients have got something.
func (b *bench) startLoad(ctx context.Context, o loadOrder) (*load, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", strconv.Itoa(loadNiceness), self)
	cmd.Env = append(os.Environ(), loadEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	l := &load{cmd: cmd}
	if l.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if !l.out.Scan() {
		return nil, fmt.Errorf("the clients did not get started: %w", errorsFirst(l.out.Err(), cmd.Wait()))
	}
	return l, nil
}

func (l *load) end() (*loadReport, error) {
	_ = l.in.Close()
	var r loadReport
	if !l.out.Scan() {
		return nil, fmt.Errorf("the clients ended early: %w", errorsFirst(l.out.Err(), l.cmd.Wait()))
	}
	if err := json.Unmarshal(l.out.Bytes(), &r); err != nil {
		return nil, err
	}
	return &r, l.cmd.Wait()
}

func (l *load) kill() { _ = l.cmd.Process.Kill() } // it has ended, as a rule

// clients is the process from within.
type clients struct {
	o     loadOrder
	film  client.Film
	noise *randomFile
	r     loadReport
	ready sync.WaitGroup
	work  sync.WaitGroup
}

// serveLoad runs the clients until standard input ends.
func serveLoad(order string) error {
	c := &clients{noise: &randomFile{block: make([]byte, 4<<20)}}
	if err := json.Unmarshal([]byte(order), &c.o); err != nil {
		return err
	}
	for i := range c.noise.block {
		c.noise.block[i] = byte(i*i>>7 + i)
	}
	c.noise.size = c.o.Size
	var err error
	if c.film, err = filmOf(c.o.Clip); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	for range c.o.Viewers {
		c.start(ctx, c.view)
	}
	for range c.o.Pictures {
		c.start(ctx, c.pictures)
	}
	for range c.o.Uploads {
		c.start(ctx, c.upload)
	}
	c.ready.Wait()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	c.work.Wait()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	c.r.Seconds, c.r.CPU = time.Since(began).Seconds(), time.Duration(u.Utime.Nano()+u.Stime.Nano()).Seconds()
	return json.NewEncoder(os.Stdout).Encode(&c.r)
}

// start runs a client; begun is called once it has got something, or never will.
func (c *clients) start(ctx context.Context, run func(ctx context.Context, begun func())) {
	c.ready.Add(1)
	c.work.Go(func() {
		begun := sync.OnceFunc(c.ready.Done)
		defer begun()
		run(ctx, begun)
	})
}

func complain(ctx context.Context, lost *int64, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	atomic.AddInt64(lost, 1)
	fmt.Fprintf(os.Stderr, "stall: %s: %v\n", what, err)
}

// view watches the first camera.
func (c *clients) view(ctx context.Context, begun func()) {
	v, err := viewer.Connect(ctx, c.o.URL+"/api/v1/cameras/cam/whep", viewer.Options{})
	if err != nil {
		complain(ctx, &c.r.ViewersLost, "watch", err)
		return
	}
	defer v.Drop()
	was := webrtc.PeerConnectionStateNew
	for ctx.Err() == nil {
		s := v.Stats()
		if s.Units > 0 {
			begun()
		}
		if s.State != was && s.State == webrtc.PeerConnectionStateDisconnected {
			atomic.AddInt64(&c.r.Disconnects, 1)
		}
		if was = s.State; was == webrtc.PeerConnectionStateFailed || was == webrtc.PeerConnectionStateClosed {
			complain(ctx, &c.r.ViewersLost, "a viewer", client.ErrLost)
			return
		}
		sleep(ctx, 100*time.Millisecond)
	}
	atomic.AddUint64(&c.r.ViewerUnits, v.Stats().Units)
}

// session runs one session to its end; take sees what comes.
func (c *clients) session(ctx context.Context, data *[]string, f client.Film, take func(*client.Document)) (*client.Document, error) {
	w, err := client.Initialise(ctx, c.o.URL, client.Request{
		Workflow: client.Detection(sessionModel), VideoFileUpload: true, StreamOutput: client.Names(), DataOutput: data,
	}, client.WorkerOptions{DecodeMost: 16 << 10})
	if err != nil {
		return nil, err
	}
	defer func() {
		atomic.AddInt64(&c.r.Disconnects, int64(w.Stats().Disconnects))
		_ = w.Close() // it is over either way
	}()
	sent := make(chan error, 1)
	go func() { sent <- w.Upload(ctx, f) }()
	last, err := w.Finish(ctx, true, func(d *client.Document) error { take(d); return nil })
	if err != nil {
		return nil, err
	}
	return last, <-sent
}

// pictures asks for base64 images of every frame, again and again.
func (c *clients) pictures(ctx context.Context, begun func()) {
	for ctx.Err() == nil {
		last, err := c.session(ctx, client.Names(client.OutputFrame), c.film, func(d *client.Document) {
			begun()
			atomic.AddInt64(&c.r.PictureDocuments, 1)
			atomic.AddInt64(&c.r.PictureBytes, int64(d.Wire))
		})
		if err == nil && last.Reason != "" {
			err = fmt.Errorf("%s: %q", last.Reason, last.Errors)
		}
		if err != nil {
			complain(ctx, &c.r.PicturesLost, "a session with pictures", err)
			return
		}
		atomic.AddInt64(&c.r.PictureSessions, 1)
	}
}

// upload sends what is no video, again and again: the box says so at the end.
func (c *clients) upload(ctx context.Context, begun func()) {
	for ctx.Err() == nil {
		n := int64(0)
		f := client.Film{ReaderAt: c.noise, Size: c.o.Size, Before: func(sent int) error {
			if sent > 0 {
				begun()
				chunk := int64(48 << 10)
				atomic.AddInt64(&c.r.UploadBytes, chunk)
				n += chunk
			}
			return ctx.Err()
		}}
		last, err := c.session(ctx, client.Names(), f, func(*client.Document) {})
		if err == nil && (last.Reason != "source_failed" || n < c.o.Size-(48<<10)) {
			err = fmt.Errorf("after %d of %d bytes: %s: %q", n, c.o.Size, last.Reason, last.Errors)
		}
		if err != nil {
			complain(ctx, &c.r.UploadsLost, "an upload", err)
			return
		}
		atomic.AddInt64(&c.r.UploadsDone, 1)
	}
}

func (r *loadReport) report(b *bench, w *stallWatch) {
	b.report("clients' cpu, niced by "+strconv.Itoa(loadNiceness), r.CPU/r.Seconds, "cores", told())
	b.report("uploaded", float64(r.UploadBytes)/1e6, "MB", told())
	b.report("uploads complete", float64(r.UploadsDone), "uploads", told())
	b.report("documents with a 1080p picture", float64(r.PictureDocuments), "documents", told())
	b.report("pictures sent", float64(r.PictureBytes)/1e6, "MB", told())
	b.report("pictures at each viewer", float64(r.ViewerUnits)/stallViewers/r.Seconds, "frames/s", told())
	b.report("uploads lost", float64(r.UploadsLost), "uploads", atMost(0))
	b.report("sessions lost", float64(r.PicturesLost), "sessions", atMost(0))
	b.report("viewers lost", float64(r.ViewersLost), "viewers", atMost(0))
	b.report("ICE consent lost", float64(r.Disconnects), "times", atMost(0))
}
