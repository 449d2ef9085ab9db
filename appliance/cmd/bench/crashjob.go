package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// crashJob is what is looked at of a job.
type crashJob struct {
	ID, Upload, Status, Reason string
	Streamed                   bool
	Results                    int
	NotBefore                  *time.Time `json:"not_before"`
	Worker                     *struct{ PID int }
}

func (j crashJob) over() bool {
	return j.Status == "done" || j.Status == "failed" || j.Status == "canceled" || j.Status == "set_aside"
}

// crashClip is a real file with the results of analysing it without interruption.
type crashClip struct {
	name  string
	bytes []byte
	set   map[string]string // tus metadata
	// whole and streamed are the results of the file read when it is whole, and as
	// it arrives; the latter is nil where it cannot be read so.
	whole, streamed map[string][]byte
}

// references analyses each clip without interruption.
func (c *crash) references(ctx context.Context) ([]*crashClip, error) {
	var clips []*crashClip
	for _, x := range []struct{ file, model string }{
		{"bikes_bframes.mp4", "motion"}, {"highway_asp.avi", "motion"}, {"vfr_h264.mp4", "motion"}, {"mpeg4_sp.avi", "motion"},
		{"h264.ts", "yolox_nano"},
		// Short ones, so that many kills fall on the beginnings and the ends of jobs.
		{"rot_0.mov", "motion"}, {"h263_qcif.3gp", "motion"}, {"bear_vp9_161x121.webm", "motion"},
	} {
		data, err := os.ReadFile(filepath.Join(c.b.media, "video", x.file))
		if err != nil {
			return nil, err
		}
		clip := &crashClip{name: x.file, bytes: data, set: map[string]string{"filename": x.file, "model": x.model}}
		if clip.whole, _, err = c.reference(ctx, clip, false); err != nil {
			return nil, fmt.Errorf("%s: %w", x.file, err)
		}
		streamed, was, err := c.reference(ctx, clip, true)
		if err != nil {
			return nil, fmt.Errorf("%s, streamed: %w", x.file, err)
		}
		if was {
			clip.streamed = streamed
			for name, want := range clip.whole {
				if !bytes.Equal(want, streamed[name]) {
					fmt.Fprintf(os.Stderr, "%s: %s differs between the whole file and the stream\n", x.file, name)
				}
			}
		}
		clips = append(clips, clip)
	}
	return clips, nil
}

// reference has the box analyse a clip; slow gives it the time to begin before the
// last byte.
func (c *crash) reference(ctx context.Context, clip *crashClip, slow bool) (files map[string][]byte, streamed bool, err error) {
	r := rand.New(rand.NewPCG(0, 0))
	size := int64(len(clip.bytes))
	set := map[string]string{"filename": clip.name, "no_job": "true"}
	if slow {
		set = clip.set
	}
	f := c.create(ctx, bytes.NewReader(clip.bytes), size, set)
	if f == nil {
		return nil, false, ctx.Err()
	}
	if slow {
		c.send(ctx, r, f, size*2/3)
		sleep(ctx, 2*time.Second)
	}
	c.send(ctx, r, f, size)
	c.completed(ctx, f)
	id := ""
	if slow {
		id = c.jobOf(ctx, f)
	} else {
		if id, err = c.createJob(ctx, f, map[string]any{"model": clip.set["model"]}); err != nil {
			return nil, false, err
		}
	}
	j := c.follow(ctx, id)
	if j.Status != "done" {
		return nil, false, fmt.Errorf("the job is %s: %s", j.Status, j.Reason)
	}
	files, err = c.results(ctx, id)
	c.dropJob(ctx, id)
	c.drop(ctx, f)
	return files, j.Streamed, err
}

// createJob asks for one more job for an upload. One whose answer is lost goes on without
// anybody who reads it.
func (c *crash) createJob(ctx context.Context, f *pushedFile, settings map[string]any) (id string, err error) {
	body, err := json.Marshal(map[string]any{"upload": f.id, "settings": settings})
	if err != nil {
		return "", err
	}
	res, err := c.do(ctx, "POST", "/api/v1/jobs", map[string]string{"Content-Type": "application/json"}, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var j crashJob
	if err := json.NewDecoder(res.Body).Decode(&j); err != nil {
		return "", err
	}
	c.knowJob(j.ID, "")
	return j.ID, nil
}

// cancelOne has another job made for an upload and cancels it: what it is then, it stays.
func (c *crash) cancelOne(ctx context.Context, r *rand.Rand, f *pushedFile) {
	id, err := c.createJob(ctx, f, map[string]any{"model": "motion", "no_video": true})
	if err != nil {
		if answered(err) && !answered(err, http.StatusServiceUnavailable) {
			c.problem("make another job of %s: %v", f.id, err)
		}
		return
	}
	sleep(ctx, time.Duration(r.IntN(500))*time.Millisecond)
	var j crashJob
	again(ctx, func() bool {
		err := c.ask(ctx, "POST", "/api/v1/jobs/"+id+"/cancel", &j)
		if answered(err, http.StatusConflict) { // it was done before
			err = c.ask(ctx, "GET", "/api/v1/jobs/"+id, &j)
		}
		if answered(err) {
			c.problem("cancel the job %s: %v", id, err)
		}
		return err == nil && j.over() || answered(err, http.StatusNotFound)
	})
	if ctx.Err() != nil {
		return
	}
	c.knowJob(id, j.Status)
	c.done.canceled.Add(1)
	sleep(ctx, time.Duration(r.IntN(2000))*time.Millisecond) // some rounds to hold it
	c.dropJob(ctx, id)
}

// pushClips pushes real files, has them analysed, and reads the results all the while.
func (c *crash) pushClips(ctx context.Context, r *rand.Rand, clips []*crashClip) {
	for !c.ended(ctx) {
		clip := clips[r.IntN(len(clips))]
		size := int64(len(clip.bytes))
		f := c.create(ctx, bytes.NewReader(clip.bytes), size, clip.set)
		if f == nil {
			return
		}
		if r.IntN(2) == 0 {
			c.send(ctx, r, f, size*2/3)
			sleep(ctx, time.Duration(r.IntN(1500))*time.Millisecond)
		}
		c.send(ctx, r, f, size)
		c.completed(ctx, f)
		id := c.jobOf(ctx, f)
		j := c.follow(ctx, id)
		if ctx.Err() != nil {
			return
		}
		c.compareJob(ctx, clip, j)
		if r.IntN(5) == 0 {
			c.cancelOne(ctx, r, f)
		}
		c.drop(ctx, f)
		if r.IntN(6) > 0 {
			c.dropJob(ctx, id)
		}
	}
}

// jobOf is the job that an upload brought about: it is durable together with the
// completion, and the box shows it within the moment.
func (c *crash) jobOf(ctx context.Context, f *pushedFile) (id string) {
	var since time.Time
	again(ctx, func() bool {
		var u uploadView
		if err := c.ask(ctx, "GET", "/api/v1/uploads/"+f.id, &u); err != nil {
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		if len(u.Jobs) != 1 {
			if len(u.Jobs) > 1 || time.Since(since) > 10*time.Second {
				c.problem("the complete upload %s has the jobs %v", f.id, u.Jobs)
			}
			return len(u.Jobs) > 1
		}
		id = u.Jobs[0]
		c.knowJob(id, "")
		return true
	})
	return id
}

// finishJobs waits for the jobs of an upload that is no video, and removes them.
func (c *crash) finishJobs(ctx context.Context, f *pushedFile) {
	id := c.jobOf(ctx, f)
	c.follow(ctx, id)
	c.dropJob(ctx, id)
}

// follow reads a job's results by cursor until it has ended for good, and asks for it
// again where it was set aside for all the kills.
func (c *crash) follow(ctx context.Context, id string) (j crashJob) {
	f := &followed{id: id}
	again(ctx, func() bool {
		err := c.readOn(ctx, f)
		if err == nil {
			var now crashJob
			if err = c.ask(ctx, "GET", "/api/v1/jobs/"+id, &now); err == nil {
				j = now
			}
		}
		if answered(err, http.StatusNotFound) {
			c.wrongResults("the job %s is gone after %d lines: %v", id, len(f.lines), err)
			return true
		}
		if err != nil {
			return false
		}
		// The box bears with few deaths of a worker and few of its own that a file
		// goes through, and waits longer each time.
		if j.Status == "set_aside" || j.Status == "queued" && j.NotBefore != nil && time.Until(*j.NotBefore) > time.Second {
			c.done.again.Add(1)
			if err := c.ask(ctx, "POST", "/api/v1/jobs/"+id+"/retry", nil); answered(err) && !answered(err, http.StatusConflict) {
				c.problem("try the job %s again: %v", id, err)
			}
			return false
		}
		return j.over() && j.Results == len(f.lines)
	})
	if ctx.Err() != nil {
		return j
	}
	c.knowJob(id, j.Status)
	if j.Status == "done" {
		whole, err := c.file(ctx, id, "detections.jsonl")
		if err != nil {
			c.wrongResults("the job %s: %v", id, err)
		} else if read := bytes.Join(f.lines, nil); !bytes.Equal(read, whole) {
			c.wrongResults("the job %s: the %d bytes of lines that were read are not the %d of the finished file", id, len(read), len(whole))
		}
	}
	return j
}

func (c *crash) wrongResults(format string, args ...any) {
	c.problem(format, args...)
	c.mu.Lock()
	c.wrong++
	c.mu.Unlock()
}

// file reads one file of a job's results, however often the box goes down meanwhile.
func (c *crash) file(ctx context.Context, id, name string) (data []byte, err error) {
	again(ctx, func() bool {
		var res *http.Response
		if res, err = c.do(ctx, "GET", "/api/v1/jobs/"+id+"/files/"+name, nil, nil, 0); err != nil {
			return answered(err)
		}
		defer res.Body.Close()
		data, err = io.ReadAll(res.Body)
		return err == nil
	})
	return data, errors.Join(err, ctx.Err())
}

// results are a finished job's files, but for what is the run's own in them.
func (c *crash) results(ctx context.Context, id string) (map[string][]byte, error) {
	all := map[string][]byte{}
	var list struct{ Files []struct{ Name string } }
	var err error
	again(ctx, func() bool {
		err = c.ask(ctx, "GET", "/api/v1/jobs/"+id+"/files", &list)
		return err == nil || answered(err)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range list.Files {
		data, err := c.file(ctx, id, f.Name)
		if err != nil {
			return nil, err
		}
		if f.Name == "summary.json" {
			var s map[string]any
			if err := json.Unmarshal(data, &s); err != nil {
				return nil, err
			}
			delete(s, "timing")
			if data, err = json.Marshal(s); err != nil {
				return nil, err
			}
		}
		all[f.Name] = data
	}
	return all, nil
}

// compareJob holds a finished job's files against the uninterrupted run's.
func (c *crash) compareJob(ctx context.Context, clip *crashClip, j crashJob) {
	c.done.jobs.Add(1)
	want := clip.whole
	if j.Streamed {
		c.done.streamed.Add(1)
		want = clip.streamed
	}
	if j.Status != "done" {
		c.problem("the job %s on %s is %s: %s", j.ID, clip.name, j.Status, j.Reason)
		return
	}
	if want == nil {
		c.problem("%s was analysed as it arrived, though it could not be before", clip.name)
		return
	}
	got, err := c.results(ctx, j.ID)
	if err != nil {
		c.problem("the results of %s: %v", j.ID, err)
		return
	}
	var bad []string
	for name, w := range want {
		if !bytes.Equal(got[name], w) {
			bad = append(bad, fmt.Sprintf("%s (%d bytes, %d without interruption)", name, len(got[name]), len(w)))
			c.keepApart(j.ID, name, got[name], w)
		}
	}
	if len(bad) > 0 || len(got) != len(want) {
		slices.Sort(bad)
		c.problem("%s, streamed %v, job %s: %d files, other than without interruption: %s", clip.name, j.Streamed, j.ID, len(got), strings.Join(bad, ", "))
		c.mu.Lock()
		c.differ++
		c.mu.Unlock()
	}
}

// keepApart saves what differs where WATCHPOST_CRASH_KEEP says, for a person to compare.
func (c *crash) keepApart(id, name string, got, want []byte) {
	dir := os.Getenv("WATCHPOST_CRASH_KEEP")
	if dir == "" {
		return
	}
	_ = os.WriteFile(filepath.Join(dir, id+"."+name+".got"), got, 0o644) // what cannot be saved was reported
	_ = os.WriteFile(filepath.Join(dir, id+"."+name+".want"), want, 0o644)
}

// dropJob removes a job.
func (c *crash) dropJob(ctx context.Context, id string) {
	c.mu.Lock()
	delete(c.jobs, id)
	c.mu.Unlock()
	again(ctx, func() bool {
		err := c.ask(ctx, "DELETE", "/api/v1/jobs/"+id, nil)
		if answered(err) && !answered(err, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable) {
			c.problem("remove the job %s: %v", id, err)
		}
		return err == nil || answered(err, http.StatusNotFound)
	})
}
