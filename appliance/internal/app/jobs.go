package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/job"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/container"
	"github.com/watchpost/watchpost/state"
)

// jobNiceness is that of workers on pushed files: cameras go first, whose frames
// nobody can send again.
const jobNiceness = niceness + 5

// jobMemory is the most that a job's worker may have of memory of its own. 4K of ten
// bits with YOLOX and an annotated picture takes 0.6 GB; what takes this much more is
// a file that means harm.
const jobMemory = 3 << 30

// jobWorkerConfig is how workers on pushed files are started. They come last on a
// busy machine, so that being slow must not pass for being hung.
func jobWorkerConfig(data string, maxResults int64) worker.Config {
	c := workerConfig(data, jobNiceness)
	c.HelloTimeout, c.BeatTimeout = time.Minute, 30*time.Second
	c.FileLimit = uint64(max(maxResults, 0))
	c.MemoryLimit = jobMemory
	c.Expendable = true
	return c
}

// openJobs opens the box's jobs. uploads is filled in later: the uploads need the
// jobs first, who make a job of each one that is complete.
func (p Program) openJobs(b jobParts) (*job.Jobs, error) {
	return job.Open(job.Deps{
		Log: p.Log, DB: b.db, Files: b.uploads, Spawn: p.spawnJob(b), Sniff: sniff,
		DefaultModel: func() string { return p.jobModel(b.cfg) },
		Live:         b.live, Loop: b.loop, Registerer: b.registerer, Queues: b.queues,
	}, job.Config{
		Dir: b.cfg.JobsDir(), Concurrency: b.cfg.Jobs.Concurrency, Retries: b.cfg.Jobs.Retries,
		PauseForLive: b.cfg.Jobs.PauseForLive, Keep: b.cfg.Jobs.Keep,
	})
}

// spawnJob starts a job's worker with what is known at that moment of models and
// of the hardware.
func (p Program) spawnJob(b jobParts) job.Spawn {
	return func(ctx context.Context, start link.Start, set state.Settings, handle func(link.Message)) (job.Process, error) {
		if err := roomForResults(b.cfg); err != nil {
			return nil, link.Fault{Kind: link.FaultOutput, Message: err.Error()}
		}
		m, err := p.findModel(b.cfg.ModelsDir(), set.Model)
		if err != nil {
			return nil, link.Fault{Kind: link.FaultModel, Message: err.Error()}
		}
		start.Model = m.path
		r := b.have.report.Load()
		start.Decoders, start.RefusedElements = r.Decoders(), r.Refused()
		w, err := b.spawner.Start(ctx, start, handle, nil)
		if err != nil {
			return nil, err // not a nil *Worker in a Process
		}
		return w, nil
	}
}

// roomForResults keeps results out of the part of the disk that uploads leave free too:
// the database is on it. The fault passes when there is room again.
func roomForResults(cfg *config.Config) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(cfg.JobsDir(), &fs); err != nil {
		return fmt.Errorf("ask for the free space of the results: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < int64(cfg.Uploads.Reserve) {
		return fmt.Errorf("the disk has %d MiB left, and %d are kept free (uploads.reserve): remove files or results", free>>20, int64(cfg.Uploads.Reserve)>>20)
	}
	return nil
}

// jobModel is the analyser of pushed files that name none: the configured one, or
// motion where that is not installed.
func (p Program) jobModel(cfg *config.Config) string {
	name := cfg.JobModel()
	if _, err := p.findModel(cfg.ModelsDir(), name); err != nil {
		p.Log.Warn("pushed files are analysed for motion only", "model", name, "reason", err)
		return config.Motion
	}
	return name
}

// checkSettings tells whether an analysis can be had on this box, before
// anybody sends gigabytes for it. The error's text is for the user.
func (p Program) checkSettings(cfg *config.Config, s state.Settings) error {
	// Written so that "not a number" is refused too.
	switch {
	case !(s.Threshold >= 0 && s.Threshold <= 1):
		return errors.New("a threshold is from 0 to 1")
	case !(s.MaxFPS >= 0 && s.MaxFPS <= maxFPS):
		return fmt.Errorf("max_fps is from 0 to %d", maxFPS)
	case s.Track < 0 || s.Track > 255:
		return errors.New("a track is from 0 to 255")
	case s.Model == config.Motion:
		return nil
	case isPath(s.Model):
		return errors.New("a model is named, not given by a path: see /api/v1/models")
	}
	store, err := model.OpenStore(cfg.ModelsDir())
	if err != nil {
		return err
	}
	name := s.Model
	if name == "" {
		if name = cfg.JobModel(); name == config.Motion {
			return nil
		}
	}
	m, err := store.Get(name)
	switch {
	case errors.Is(err, model.ErrNotFound) && s.Model == "":
		return nil // motion it is
	case err != nil:
		return err
	}
	for _, c := range s.Classes {
		if !slices.Contains(m.Card.Labels, c) {
			return fmt.Errorf("the model %s knows no class %.64q; it knows %s", m.Name, c, someOf(m.Card.Labels))
		}
	}
	return nil
}

func someOf(labels []string) string {
	const n = 12
	if len(labels) <= n {
		return strings.Join(labels, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(labels[:n], ", "), len(labels)-n)
}

// sniff is container.Sniff in the jobs' words. What is no container known here is
// for a worker to try when it is whole.
func sniff(r io.ReaderAt, have, size int64) (job.Layout, error) {
	l, err := container.Sniff(r, have, size)
	if err != nil {
		return job.Layout{}, err
	}
	return job.Layout{Need: l.Need, Streamable: l.Streamable, Remark: l.Remark}, nil
}

// pushedFiles are the uploads as the jobs see them.
type pushedFiles struct{ all *upload.Uploads }

// Path implements job.Files.
func (f *pushedFiles) Path(id string) (string, error) { return f.all.Path(id) }

// Watch implements job.Files. An upload that changes while the list is gone
// through is told by its change: the list has an older state of it.
func (f *pushedFiles) Watch(deliver func(job.File)) (stop func()) {
	var mu sync.Mutex
	told := map[string]bool{}
	stop = f.all.Watch("", func(i upload.Info) {
		mu.Lock()
		defer mu.Unlock()
		if told != nil {
			told[i.ID] = true
		}
		deliver(pushedFile(i))
	})
	for _, i := range f.all.List() {
		mu.Lock()
		if !told[i.ID] {
			deliver(pushedFile(i))
		}
		mu.Unlock()
	}
	mu.Lock()
	told = nil
	mu.Unlock()
	return stop
}

func pushedFile(i upload.Info) job.File {
	if i.Status == upload.Removed {
		return job.File{ID: i.ID, Gone: true}
	}
	f := job.FileOf(i.Upload)
	f.Contiguous = i.Contiguous
	return f
}

// strained tells the jobs how the cameras fare. A scene or a pattern that the box
// makes itself is no camera that anybody would miss.
func (cs *cameras) strained() []job.Camera {
	var list []job.Camera
	for _, b := range cs.all() {
		s := b.camera.Snapshot()
		if b.made {
			continue
		}
		list = append(list, job.Camera{
			ID: s.ID, Playing: stateName(s) == "playing",
			Decoded: s.Ledger.Decoded, Dropped: s.Ledger.Dropped, Late: s.Ledger.PicturesLate, FPS: s.Stream.FPS,
		})
	}
	return list
}

// jobs are the box's jobs as the API sees them.
type jobs struct {
	all   *job.Jobs
	check func(state.Settings) error
}

// jobError says the kind of err in the API's words; its text is for the user already.
func jobError(err error) error {
	for _, k := range []struct{ of, is error }{
		{job.ErrNotFound, api.ErrNotFound}, {job.ErrConflict, api.ErrConflict},
		{job.ErrInvalid, api.ErrInvalid}, {job.ErrClosing, api.ErrUnavailable}, {job.ErrDamaged, api.ErrGone},
	} {
		if errors.Is(err, k.of) {
			return api.Explain(k.is, err.Error())
		}
	}
	return err
}

func answer(j job.Job, err error) (api.Job, error) {
	if err != nil {
		return api.Job{}, jobError(err)
	}
	return jobView(j), nil
}

// List implements api.Jobs.
func (js *jobs) List() []api.Job {
	all := js.all.List()
	out := make([]api.Job, len(all))
	for i, j := range all {
		out[i] = jobView(j)
	}
	return out
}

// Get implements api.Jobs.
func (js *jobs) Get(id string) (api.Job, error) { return answer(js.all.Get(id)) }

// Create implements api.Jobs.
func (js *jobs) Create(ctx context.Context, n api.NewJob) (api.Job, error) {
	set := state.Settings(n.Settings)
	if err := js.check(set); err != nil {
		return api.Job{}, api.Explain(api.ErrInvalid, err.Error())
	}
	return answer(js.all.Create(ctx, job.Spec{Upload: n.Upload, Settings: set, Priority: n.Priority}))
}

// Cancel implements api.Jobs.
func (js *jobs) Cancel(ctx context.Context, id string) (api.Job, error) {
	return answer(js.all.Cancel(ctx, id))
}

// Retry implements api.Jobs.
func (js *jobs) Retry(ctx context.Context, id string) (api.Job, error) {
	return answer(js.all.Retry(ctx, id))
}

// SetPriority implements api.Jobs.
func (js *jobs) SetPriority(ctx context.Context, id string, n int) (api.Job, error) {
	return answer(js.all.SetPriority(ctx, id, n))
}

// Remove implements api.Jobs.
func (js *jobs) Remove(ctx context.Context, id string) error {
	return jobError(js.all.Remove(ctx, id))
}

// Watch implements api.Jobs.
func (js *jobs) Watch(deliver func(api.JobEvent)) (stop func()) {
	return js.all.Watch(func(e job.Event) {
		if e.Job == nil {
			deliver(api.JobEvent{Removed: e.Removed})
			return
		}
		v := jobView(*e.Job)
		deliver(api.JobEvent{Job: &v})
	})
}
