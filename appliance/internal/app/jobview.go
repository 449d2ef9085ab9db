package app

import (
	"context"
	"errors"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/job"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/state"
)

// jobParts are what the jobs are put together from.
type jobParts struct {
	cfg     *config.Config
	db      *state.DB
	uploads *pushedFiles
	spawner *worker.Spawner // of jobWorkerConfig
	have    *hardware
	// live, loop, registerer and queues may be nil.
	live       func() []job.Camera
	loop       job.Loop
	registerer prometheus.Registerer
	queues     *queue.Registry
}

// jobView is a job in the API's words.
func jobView(j job.Job) api.Job {
	v := api.Job{
		ID: j.ID, Upload: j.Upload, Name: j.Name, Status: string(j.Status), Priority: j.Priority,
		Settings: api.JobSettings(j.Settings), Streamed: j.Streamed, Attempts: j.Attempts, Deaths: j.Deaths,
		Reason: j.Fault, Results: j.Results, Created: j.Created,
		Started: moment(j.Started), Ended: moment(j.Ended), NotBefore: moment(j.NotBefore), Outcome: j.Outcome,
		Progress: api.JobProgress{Frames: j.Progress.Frames, Position: j.Progress.Position.Seconds(), FPS: j.Progress.FPS},
	}
	if d := j.Progress.Duration; d > 0 {
		seconds := d.Seconds()
		v.Progress.Duration = &seconds
	}
	if p := j.Progress.Percent; p >= 0 {
		v.Progress.Percent = &p
	}
	if j.Ledger != nil {
		l := ledgerView(*j.Ledger)
		v.Ledger = &l
	}
	if w := j.Worker; w != nil {
		v.Worker = &api.Worker{PID: w.PID, RSS: w.RSS, CPUSeconds: w.CPU.Seconds(), Started: w.Started}
		if c := w.Confined; c != nil {
			v.Sandbox = &api.JobSandbox{LandlockABI: c.LandlockABI, Missing: c.Missing}
		}
	}
	return v
}

// Results implements api.Jobs.
func (js *jobs) Results(id string, from uint64) (api.JobResults, error) {
	r, err := js.all.Results(id, from)
	if err != nil {
		return nil, jobError(err)
	}
	return resultCursor{r}, nil
}

// resultCursor is a job's cursor as the API wants it.
type resultCursor struct{ *job.Reader }

// Next implements api.JobResults.
func (c resultCursor) Next(ctx context.Context) (seq uint64, line []byte, ok bool, err error) {
	l, ok, err := c.Reader.Next(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		err = jobError(err)
	}
	return l.Seq, l.Data, ok, err
}

// Ready implements api.JobResults.
func (c resultCursor) Ready(ctx context.Context) (next, lines uint64, ended bool, err error) {
	next, lines, ended, err = c.Reader.Ready(ctx)
	return next, lines, ended, jobError(err)
}

// Files implements api.Jobs.
func (js *jobs) Files(id string) ([]api.JobFile, error) {
	files, err := js.all.Files(id)
	if err != nil {
		return nil, jobError(err)
	}
	out := make([]api.JobFile, len(files))
	for i, f := range files {
		out[i] = jobFileView(f)
	}
	return out, nil
}

func jobFileView(f job.ResultFile) api.JobFile {
	return api.JobFile{Name: f.Name, Media: f.Media, Bytes: f.Bytes, Complete: f.Complete, Modified: f.Modified}
}

// OpenFile implements api.Jobs.
func (js *jobs) OpenFile(id, name string) (*api.OpenJobFile, error) {
	j, err := js.all.Get(id)
	if err != nil {
		return nil, jobError(err)
	}
	f, err := js.all.OpenResult(id, name)
	if err != nil {
		return nil, jobError(err)
	}
	return &api.OpenJobFile{JobFile: jobFileView(f.ResultFile), Tag: f.Tag, Source: j.Name, Content: f.ReadSeeker, Closer: f.Closer}, nil
}
