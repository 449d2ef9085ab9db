package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// await waits for the file's analysis and fetches its results into folder.
func (p *pusher) await(ctx context.Context, out *Outcome, folder string, show *meter) error {
	retry := newRetry(p.o.Patience)
	j, err := p.ended(ctx, out.Upload, retry, show)
	if err != nil {
		return err
	}
	out.Job = j.ID
	if j.Status != "done" {
		return fmt.Errorf("%w: %s", ErrAnalysis, reason(j))
	}
	if folder == "" {
		return nil
	}
	show.stage(Fetching, nil)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	out.Out = folder
	for {
		err := p.fetchAll(ctx, j.ID, folder, retry)
		if err == nil {
			return nil
		}
		if err := retry.pause(ctx, err, show); err != nil {
			return err
		}
		show.stage(Fetching, nil)
	}
}

func reason(j job) string {
	if j.Reason != "" {
		return printable(strings.TrimPrefix(j.Reason, j.Name+": ")) // the line begins with the name
	}
	return printable("the job is " + j.Status)
}

// ended waits for the newest job of an upload to come to its end.
func (p *pusher) ended(ctx context.Context, id string, retry *retry, show *meter) (job, error) {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for wait := 100 * time.Millisecond; ; {
		// Many files that wait ask less often each, so that the box is asked as often.
		wait = min(wait*3/2, time.Second+time.Duration(p.waiting.Load())*50*time.Millisecond)
		j, err := p.newest(ctx, id)
		switch {
		case err != nil:
			if err := retry.pause(ctx, err, show); err != nil {
				return job{}, err
			}
			continue
		case j.Status == "done", j.Status == "failed", j.Status == "canceled", j.Status == "set_aside":
			return j, nil
		case j.ID != "":
			show.analysing(j)
		}
		retry.progress(int64(j.Progress.Frames)) // the box answers
		if err := sleep(ctx, wait); err != nil {
			return job{}, err
		}
	}
}

// newest is an upload's last job; none yet: an empty one.
func (p *pusher) newest(ctx context.Context, id string) (job, error) {
	u, err := p.box.upload(ctx, id)
	if isGone(err) {
		return job{}, fmt.Errorf("%w: somebody removed the upload from the box", ErrAnalysis)
	}
	if err != nil || len(u.Jobs) == 0 {
		return job{}, err
	}
	return p.box.job(ctx, u.Jobs[len(u.Jobs)-1])
}

// fetchAll brings what is not here yet.
func (p *pusher) fetchAll(ctx context.Context, job, folder string, retry *retry) error {
	list, err := p.box.files(ctx, job)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." || !f.Complete {
			continue
		}
		if err := p.fetch(ctx, job, f, folder, retry); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings one file, from where an earlier try broke off, and gives it its
// name once it is whole and on disk.
func (p *pusher) fetch(ctx context.Context, job string, f resultFile, folder string, retry *retry) (err error) {
	path := filepath.Join(folder, f.Name)
	// The job's id in the name: a part of another job's file is no beginning of this one.
	part := path + "." + job + ".part"
	file, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	defer file.Close()
	at, err := file.Seek(0, io.SeekEnd)
	if err == nil && at > f.Bytes {
		at, err = 0, file.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	if at < f.Bytes {
		if at, err = p.copyFrom(ctx, job, f.Name, file, at, retry); err != nil {
			return err
		}
	}
	if at != f.Bytes {
		return fmt.Errorf("%s broke off after %d of %d bytes", f.Name, at, f.Bytes)
	}
	if err := errors.Join(file.Sync(), os.Rename(part, path)); err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return nil
}

func (p *pusher) copyFrom(ctx context.Context, job, name string, file *os.File, at int64, retry *retry) (int64, error) {
	r, err := p.box.open(ctx, job, name, at)
	if err != nil {
		return at, err
	}
	defer r.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := file.WriteAt(buf[:n], at); werr != nil {
				return at, fmt.Errorf("%w: %w", ErrOutput, werr)
			}
			at += int64(n)
			retry.since = time.Now()
		}
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
	}
}
