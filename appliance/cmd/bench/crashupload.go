package main

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

func tusHead(more ...string) map[string]string {
	h := map[string]string{"Tus-Resumable": "1.0.0"}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

// create begins an upload. One whose answer is lost stays behind without a name.
func (c *crash) create(ctx context.Context, from io.ReaderAt, size int64, metadata map[string]string) *pushedFile {
	var meta []string
	for k, v := range metadata {
		meta = append(meta, k+" "+base64.StdEncoding.EncodeToString([]byte(v)))
	}
	var f *pushedFile
	again(ctx, func() bool {
		res, err := c.do(ctx, "POST", "/api/v1/tus/", tusHead("Upload-Length", strconv.FormatInt(size, 10), "Upload-Metadata", strings.Join(meta, ",")), nil, 0)
		if answered(err) && !answered(err, http.StatusServiceUnavailable) {
			c.problem("create an upload: %v", err)
		}
		if err != nil {
			return false
		}
		res.Body.Close()
		where, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			c.problem("create an upload: %v", err)
			return false
		}
		f = c.know(path.Base(where.Path), from, size)
		return true
	})
	return f
}

func (c *crash) know(id string, from io.ReaderAt, size int64) *pushedFile {
	f := &pushedFile{id: id, from: from, size: size}
	c.mu.Lock()
	c.files[id] = f
	c.mu.Unlock()
	return f
}

// slowly reads no faster than a network would deliver, so that kills fall into it.
type slowly struct{ r io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.r.Read(p[:min(len(p), 64<<10)])
}

// send brings the file's bytes up to limit to the box in parts of random sizes.
func (c *crash) send(ctx context.Context, r *rand.Rand, f *pushedFile, limit int64) {
	at, known := int64(0), false
	again(ctx, func() bool {
		if !known {
			res, err := c.do(ctx, "HEAD", "/api/v1/tus/"+f.id, tusHead(), nil, 0)
			if answered(err, http.StatusNotFound, http.StatusGone) {
				c.loses(f.id, 1, "the box does not know the upload: "+err.Error())
				return true
			}
			if err != nil {
				return false
			}
			res.Body.Close()
			if at, err = strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64); err != nil {
				c.problem("HEAD: %v", err)
				return false
			}
			f.ack(0, at)
			known = true
		}
		if at >= limit {
			return true
		}
		n := min(limit-at, 1+r.Int64N([]int64{1, 4 << 10, 256 << 10, 4 << 20, 8 << 20}[r.IntN(5)]))
		body := slowly{io.NewSectionReader(f.from, at, n)}
		res, err := c.do(ctx, "PATCH", "/api/v1/tus/"+f.id,
			tusHead("Upload-Offset", strconv.FormatInt(at, 10), "Content-Type", "application/offset+octet-stream"), body, n)
		if err != nil {
			// 409: more of what was cut off had arrived than HEAD knew; 423: that writer is not gone yet.
			if answered(err) && !answered(err, http.StatusConflict, http.StatusLocked, http.StatusServiceUnavailable) {
				c.problem("PATCH %s at %d: %v", f.id, at, err)
			}
			known = false
			return false
		}
		res.Body.Close()
		end, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
		if err != nil || end != at+n {
			c.problem("PATCH %s of %d at %d: the box is at %q", f.id, n, at, res.Header.Get("Upload-Offset"))
		}
		f.ack(0, end)
		at = end
		return at >= limit
	})
}

// completed waits until the box has checked the whole file, and compares its hash.
func (c *crash) completed(ctx context.Context, f *pushedFile) {
	var u uploadView
	again(ctx, func() bool {
		err := c.ask(ctx, "GET", "/api/v1/uploads/"+f.id, &u)
		if answered(err, http.StatusNotFound) {
			c.loses(f.id, f.size, err.Error())
			return true
		}
		return err == nil && (u.Status == "complete" || u.Status == "refused")
	})
	if ctx.Err() != nil {
		return
	}
	hash := sha256.New()
	_, _ = io.Copy(hash, io.NewSectionReader(f.from, 0, f.size)) // from memory
	if own := hex.EncodeToString(hash.Sum(nil)); u.SHA256 != own {
		c.problem("the upload %s is %s with sha256 %s, sent was %s: %s", f.id, u.Status, u.SHA256, own, u.Problem)
	}
	f.mu.Lock()
	f.complete, f.acked = true, [][2]int64{{0, f.size}}
	f.mu.Unlock()
	c.done.uploads.Add(1)
	c.done.bytes.Add(f.size)
}

// drop removes an upload, but now and then leaves one for the rest of the run.
func (c *crash) drop(ctx context.Context, f *pushedFile) {
	c.mu.Lock()
	keep := c.keeping < 8 && c.done.uploads.Load()%5 == 0
	if keep {
		c.keeping++
	}
	c.mu.Unlock()
	if keep {
		return
	}
	f.mu.Lock()
	f.leaving = true
	f.mu.Unlock()
	again(ctx, func() bool {
		err := c.ask(ctx, "DELETE", "/api/v1/uploads/"+f.id, nil)
		if answered(err) && !answered(err, http.StatusNotFound, http.StatusGone, http.StatusConflict, http.StatusServiceUnavailable) {
			c.problem("remove the upload %s: %v", f.id, err)
		}
		return err == nil || answered(err, http.StatusNotFound, http.StatusGone)
	})
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	delete(c.files, f.id)
	c.removed[f.id] = true
	c.mu.Unlock()
}

func (c *crash) ended(ctx context.Context) bool {
	select {
	case <-c.over:
		return true
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

func crashNoise(r *rand.Rand, size int64) *randomFile {
	f := &randomFile{block: make([]byte, 64<<10+r.IntN(1<<20)), size: size}
	_, _ = crand.Read(f.block) // never fails, says crypto/rand
	return f
}

// pushNoise pushes files that are not analysed, one after the other.
func (c *crash) pushNoise(ctx context.Context, r *rand.Rand) {
	for !c.ended(ctx) {
		size := 1 + r.Int64N([]int64{100, 64 << 10, 2 << 20, 16 << 20}[r.IntN(4)])
		f := c.create(ctx, crashNoise(r, size), size, map[string]string{"filename": "noise", "no_job": "true"})
		if f == nil {
			return
		}
		c.send(ctx, r, f, size)
		c.completed(ctx, f)
		c.drop(ctx, f)
	}
}

// pushShuffled pushes files over data channels, their chunks in any order.
func (c *crash) pushShuffled(ctx context.Context, r *rand.Rand) {
	for !c.ended(ctx) {
		size := 1 + r.Int64N(6<<20)
		f := &pushedFile{from: crashNoise(r, size), size: size}
		again(ctx, func() bool {
			if f.id == "" && c.ended(ctx) {
				return true
			}
			try, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			done, err := c.shuffle(try, r, f)
			if err != nil && strings.HasPrefix(err.Error(), "the box:") && !strings.Contains(err.Error(), "going down") {
				c.problem("data channel: %v", err)
			}
			return done
		})
		if ctx.Err() != nil || f.id == "" {
			return
		}
		c.completed(ctx, f)
		c.finishJobs(ctx, f)
		c.drop(ctx, f)
	}
}

// shuffle sends what the box lacks of a file over one connection.
func (c *crash) shuffle(ctx context.Context, r *rand.Rand, f *pushedFile) (done bool, err error) {
	const chunk = 48 << 10
	p, ch, err := client.Dial(ctx, *c.url.Load(), "video_upload", client.Options{Loopback: true})
	if err != nil {
		return false, err
	}
	defer p.Close()
	stop := context.AfterFunc(ctx, func() { _ = p.Close() }) // a killed box says nothing any more
	defer stop()
	if err := ch.SendText(map[string]any{"upload": map[string]any{"name": "shuffled", "size": f.size, "chunk_size": chunk, "id": f.id}}); err != nil {
		return false, err
	}
	buf := make([]byte, 64<<10)
	m, err := ch.Receive(buf)
	if err != nil {
		return false, err
	}
	if m.Upload == nil {
		return false, errors.New("no answer to the announcement")
	}
	if f.id == "" {
		f.id = m.Upload.ID
		c.mu.Lock()
		c.files[f.id] = f
		c.mu.Unlock()
	}
	have := map[int64]bool{}
	note := func(ranges [][2]int64) {
		for _, g := range ranges {
			f.ack(g[0]*chunk, min((g[1]+1)*chunk, f.size))
			for i := g[0]; i <= g[1]; i++ {
				have[i] = true
			}
		}
	}
	note(m.Upload.Have)
	chunks := (f.size + chunk - 1) / chunk
	var todo []int64
	for i := range chunks {
		if !have[i] {
			todo = append(todo, i)
		}
	}
	r.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	sent := make(chan error, 1)
	sending, cancel := context.WithCancel(ctx)
	defer func() { cancel(); <-sent }()
	go func() {
		defer close(sent)
		msg := make([]byte, 8+chunk)
		binary.LittleEndian.PutUint32(msg[4:], uint32(chunks))
		for _, i := range todo {
			n := min(chunk, f.size-i*chunk)
			_, _ = f.from.ReadAt(msg[8:8+n], i*chunk) // from memory
			binary.LittleEndian.PutUint32(msg, uint32(i))
			if ch.Send(sending, msg[:8+n]) != nil {
				return
			}
			sleep(sending, 3*time.Millisecond)
		}
	}()
	for {
		m, err := ch.Receive(buf)
		switch {
		case err != nil:
			return false, err
		case m.Committed != nil:
			note(m.Committed.Have)
		case m.Done != nil:
			return true, nil
		}
	}
}
