package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// pushedFile is one upload as its client sees it.
type pushedFile struct {
	id   string
	from io.ReaderAt
	size int64

	mu       sync.Mutex
	acked    [][2]int64 // bytes that the box has acknowledged, [from,to), merged and in order
	complete bool       // the box said so
	leaving  bool       // its removal was asked for
}

// ack notes that the box has acknowledged bytes.
func (f *pushedFile) ack(from, to int64) {
	if to <= from {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append(slices.Clone(f.acked), [2]int64{from, to})
	slices.SortFunc(all, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	f.acked = nil // promises hold the old ones
	for _, r := range all {
		if n := len(f.acked); n > 0 && r[0] <= f.acked[n-1][1] {
			f.acked[n-1][1] = max(f.acked[n-1][1], r[1])
		} else {
			f.acked = append(f.acked, r)
		}
	}
}

// promise is what the box had promised of a file at some moment.
type promise struct {
	*pushedFile
	acked    [][2]int64
	complete bool
}

// promises are what a box has promised.
type promises struct {
	files []promise
	jobs  map[string]string // how each job stood that is to stay so; "": it is to be there
}

// promised is all that the box has promised until now.
func (c *crash) promised() promises {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := promises{jobs: maps.Clone(c.jobs)}
	for _, f := range c.files {
		f.mu.Lock()
		if !f.leaving {
			all.files = append(all.files, promise{f, slices.Clone(f.acked), f.complete})
		}
		f.mu.Unlock()
	}
	return all
}

// uploadView is what is looked at of an upload.
type uploadView struct {
	ID, Status, SHA256, Problem string
	Received                    int64
	Have                        [][2]int64
	Jobs                        []string
}

func (c *crash) uploads(ctx context.Context) ([]uploadView, error) {
	var list struct{ Uploads []uploadView }
	err := c.ask(ctx, "GET", "/api/v1/uploads", &list)
	return list.Uploads, err
}

// check asks the box for its uploads and jobs and holds them against what was promised.
func (c *crash) check(ctx context.Context, promised promises) error {
	c.mu.Lock()
	removed := make(map[string]bool, len(c.removed))
	for id := range c.removed {
		removed[id] = true
	}
	c.mu.Unlock()
	list, err := c.uploads(ctx)
	if err != nil {
		return err
	}
	now := map[string]uploadView{}
	for _, u := range list {
		now[u.ID] = u
		if removed[u.ID] {
			c.problem("the upload %s was removed and is back", u.ID)
		}
	}
	for _, p := range promised.files {
		u, there := now[p.id]
		if !there {
			p.mu.Lock()
			leaving := p.leaving // meanwhile
			p.mu.Unlock()
			if !leaving {
				c.loses(p.id, 1+total(p.acked), "the upload is gone")
			}
			continue
		}
		if p.complete && u.Status != "complete" {
			c.problem("the upload %s was complete and is %s", u.ID, u.Status)
		}
		for _, a := range p.acked {
			if !covered(u.Have, a) {
				c.loses(p.id, a[1]-a[0], fmt.Sprintf("the box has %v and had acknowledged %v", u.Have, a))
			}
		}
	}
	return c.checkJobs(ctx, promised.jobs)
}

func (c *crash) checkJobs(ctx context.Context, promised map[string]string) error {
	var list struct{ Jobs []crashJob }
	if err := c.ask(ctx, "GET", "/api/v1/jobs", &list); err != nil {
		return err
	}
	now := map[string]string{}
	for _, j := range list.Jobs {
		now[j.ID] = j.Status
	}
	c.mu.Lock()
	still := maps.Clone(c.jobs)
	c.mu.Unlock()
	for id, want := range promised {
		if _, wanted := still[id]; !wanted {
			continue // its removal was asked for meanwhile
		}
		if is, there := now[id]; !there || want != "" && is != want {
			c.problem("the job %s was %q and is %q (there: %v)", id, want, is, there)
		}
	}
	return nil
}

// knowJob notes that a job is to be there from now on, and to stay as it is.
func (c *crash) knowJob(id, status string) {
	c.mu.Lock()
	c.jobs[id] = status
	c.mu.Unlock()
}

func covered(have [][2]int64, want [2]int64) bool {
	for _, h := range have {
		if h[0] <= want[0] && want[1] <= h[1] {
			return true
		}
	}
	return false
}

func total(ranges [][2]int64) (n int64) {
	for _, r := range ranges {
		n += r[1] - r[0]
	}
	return n
}

func (c *crash) loses(id string, n int64, why string) {
	c.problem("the upload %s: %d acknowledged bytes are lost: %s", id, n, why)
	c.mu.Lock()
	c.lost += n
	c.mu.Unlock()
}

// compareBytes reads what was promised in the box's own files.
func (c *crash) compareBytes(promised promises) {
	for _, p := range promised.files {
		if err := p.compare(filepath.Join(c.data, "uploads", p.id)); err != nil {
			p.mu.Lock()
			leaving := p.leaving
			p.mu.Unlock()
			if !leaving {
				c.loses(p.id, total(p.acked), err.Error())
			}
		}
	}
}

func (p promise) compare(path string) error {
	if len(p.acked) == 0 {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	is, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for _, a := range p.acked {
		for at := a[0]; at < a[1]; {
			n := min(int64(len(is)), a[1]-at)
			if _, err := f.ReadAt(is[:n], at); err != nil {
				return fmt.Errorf("at %d: %w", at, err)
			}
			if _, err := p.from.ReadAt(want[:n], at); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if !bytes.Equal(is[:n], want[:n]) {
				return fmt.Errorf("other bytes than were sent between %d and %d", at, at+n)
			}
			at += n
		}
	}
	return nil
}

// patient bounds a request: a box that is killed answers no more.
var patient = &http.Client{Timeout: 20 * time.Second}

// statusError is an answer that was not looked for.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.text) }

func answered(err error, codes ...int) bool {
	var s *statusError
	if !errors.As(err, &s) {
		return false
	}
	for _, c := range codes {
		if s.code == c {
			return true
		}
	}
	return len(codes) == 0
}

// do makes a request of the box as it is now; an answer other than 2xx is a *statusError.
func (c *crash) do(ctx context.Context, method, where string, head map[string]string, body io.Reader, size int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, *c.url.Load()+where, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.ContentLength = size
	}
	for k, v := range head {
		r.Header.Set(k, v)
	}
	res, err := patient.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // for the error alone
		res.Body.Close()
		return nil, &statusError{res.StatusCode, strings.TrimSpace(string(text))}
	}
	return res, nil
}

// ask makes a request with a JSON answer; into may be nil.
func (c *crash) ask(ctx context.Context, method, where string, into any) error {
	res, err := c.do(ctx, method, where, nil, nil, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// again repeats what a kill may have cut short, until it says it is done.
func again(ctx context.Context, try func() (done bool)) {
	for ctx.Err() == nil && !try() {
		sleep(ctx, 15*time.Millisecond)
	}
}
