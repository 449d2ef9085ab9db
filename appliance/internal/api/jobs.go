package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Jobs is what the routes need of the jobs. All of it may be called from many
// goroutines. Unknown ids: ErrNotFound; what a job's state does not allow:
// ErrConflict.
type Jobs interface {
	// List returns every job, the oldest first.
	List() []Job
	Get(id string) (Job, error)
	// Create, Cancel, Retry and SetPriority are durable when they return.
	Create(ctx context.Context, j NewJob) (Job, error)
	Cancel(ctx context.Context, id string) (Job, error)
	Retry(ctx context.Context, id string) (Job, error)
	SetPriority(ctx context.Context, id string, priority int) (Job, error)
	// Remove stops the job's worker and removes the job and its results.
	Remove(ctx context.Context, id string) error
	// Watch has deliver called with every later JobEvent, until stop; also
	// whenever a job has more results. deliver returns at once; it may be called
	// after stop.
	Watch(deliver func(JobEvent)) (stop func())
	// Results returns a cursor on a job's results that begins with line from.
	Results(id string, from uint64) (JobResults, error)
	Files(id string) ([]JobFile, error)
	OpenFile(id, name string) (*OpenJobFile, error)
}

// JobResults is a cursor on the lines of one job's results, used by one
// goroutine.
type JobResults interface {
	// Next returns the next line, valid until the next call; ok is false where it
	// is not there yet. io.EOF: the job has ended, and there are no more.
	Next(ctx context.Context) (seq uint64, line []byte, ok bool, err error)
	// Wait returns when Next may say something else, or with ctx's error.
	Wait(ctx context.Context) error
	// Ready tells the next line's number, how many lines there are now, and
	// whether those are all that there will be.
	Ready(ctx context.Context) (next, lines uint64, ended bool, err error)
	Close()
}

// Job is all that the box says about one job. Values handed to this package are
// kept and read later: never change one afterwards.
type Job struct {
	ID       string      `json:"id" doc:"The job's id" example:"j0006k3v9q8a1b2c3d4e5f6g7h"`
	Upload   string      `json:"upload" doc:"The id of the upload that it analyses"`
	Name     string      `json:"name" doc:"The file's name" example:"yard.mp4"`
	Status   string      `json:"status" enum:"waiting,queued,running,paused,done,failed,canceled,set_aside" doc:"waiting: for bytes of the upload; queued: for its turn, or its next try; running; paused: a live camera needs the machine; done; failed: reason says why; canceled: what was found until then stays; set_aside: its file killed its worker twice, or took the box down, and is not tried again by itself"`
	Priority int         `json:"priority" doc:"Higher goes first"`
	Settings JobSettings `json:"settings"`
	Streamed bool        `json:"streamed" doc:"It began while its file was arriving"`
	Attempts int         `json:"attempts" doc:"How often a worker was started"`
	Deaths   int         `json:"deaths" doc:"How many workers died of it without a word"`
	Reason   string      `json:"reason,omitempty" doc:"In one line, what it waits for or why it did not succeed"`
	Progress JobProgress `json:"progress"`
	Results  uint64      `json:"results" doc:"Lines of results that can be read"`

	Created   time.Time       `json:"created"`
	Started   *time.Time      `json:"started,omitempty" doc:"When the first attempt began"`
	Ended     *time.Time      `json:"ended,omitempty"`
	NotBefore *time.Time      `json:"not_before,omitempty" doc:"When it is tried again"`
	Ledger    *Ledger         `json:"ledger,omitempty" doc:"How every frame ended, in this or the last attempt"`
	Worker    *Worker         `json:"worker,omitempty" doc:"The media worker's process; absent while there is none"`
	Sandbox   *JobSandbox     `json:"sandbox,omitempty" doc:"How the worker is confined, once it is"`
	Outcome   json.RawMessage `json:"outcome,omitempty" doc:"The summary (summary.json), once done; left out of lists and of /api/v1/jobs/events"`
}

// JobSettings are what a job is to do.
type JobSettings struct {
	Model     string   `json:"model,omitempty" required:"false" maxLength:"128" doc:"An installed model's name, or motion. Default: the box's for files"`
	Threshold float32  `json:"threshold,omitempty" required:"false" minimum:"0" maximum:"1" doc:"Least confidence of a detection. 0: the model's own"`
	Classes   []string `json:"classes,omitempty" required:"false" maxItems:"1000" nullable:"false" doc:"Keep only detections with these labels. None: all"`
	Gate      bool     `json:"gate,omitempty" required:"false" doc:"Spare the model while nothing moves"`
	MaxFPS    float64  `json:"max_fps,omitempty" required:"false" minimum:"0" maximum:"1000" doc:"Most frames analysed per second of video. 0: all"`
	NoVideo   bool     `json:"no_video,omitempty" required:"false" doc:"Make no annotated.mp4"`
	Track     int      `json:"track,omitempty" required:"false" minimum:"0" maximum:"255" doc:"Which video track of the file; 0: the first"`
}

// JobProgress is how far a job is.
type JobProgress struct {
	Frames   uint64   `json:"frames" doc:"Frames decoded"`
	Position float64  `json:"position_s" doc:"Seconds of video behind it"`
	Duration *float64 `json:"duration_s" doc:"Seconds of video in all; null: not known"`
	FPS      float64  `json:"fps" doc:"Frames a second at this moment"`
	Percent  *float64 `json:"percent" doc:"0 to 100; null: it cannot be told"`
}

// JobSandbox is how strong a job's sandbox is.
type JobSandbox struct {
	LandlockABI int      `json:"landlock_abi" doc:"The kernel's; 0: it has no Landlock"`
	Missing     []string `json:"missing" nullable:"false" doc:"The protections that this kernel lacks"`
}

// NewJob asks for a job.
type NewJob struct {
	Upload   string      `json:"upload" maxLength:"64" doc:"The upload's id; it may still be arriving"`
	Settings JobSettings `json:"settings,omitempty" required:"false"`
	Priority int         `json:"priority,omitempty" required:"false" minimum:"-100" maximum:"100"`
}

// JobEvent is something that happened to a job: exactly one field is set.
type JobEvent struct {
	Job     *Job   // its new state
	Removed string // the id of one that is gone
}

func (e JobEvent) id() string {
	if e.Job != nil {
		return e.Job.ID
	}
	return e.Removed
}

// JobFile is one file of a job's results.
type JobFile struct {
	Name     string    `json:"name" example:"annotated.mp4"`
	Media    string    `json:"media_type" example:"video/mp4"`
	Bytes    int64     `json:"bytes" doc:"What there is of it now"`
	Complete bool      `json:"complete" doc:"False while it grows"`
	Modified time.Time `json:"modified"`
}

// OpenJobFile is a JobFile to be read.
type OpenJobFile struct {
	JobFile
	Tag     string // names the bytes, for If-Range and If-None-Match
	Source  string // the name of the analysed file
	Content io.ReadSeeker
	io.Closer
}

func (j Job) whole() Job {
	if j.Sandbox != nil {
		s := *j.Sandbox
		s.Missing = list(s.Missing)
		j.Sandbox = &s
	}
	return j
}

// brief is a job as lists tell it: outcomes are long, and there may be thousands.
func (j Job) brief() Job {
	j.Outcome = nil
	return j.whole()
}

type jobList struct {
	Jobs []Job `json:"jobs" nullable:"false"`
}

type jobFileList struct {
	Files []JobFile `json:"files" nullable:"false"`
}

type removedJob struct {
	ID string `json:"id"`
}

type jobID struct {
	ID string `path:"id" maxLength:"64" doc:"The job's id" example:"j0006k3v9q8a1b2c3d4e5f6g7h"`
}

type jobPatch struct {
	ID   string `path:"id" maxLength:"64" doc:"The job's id"`
	Body struct {
		Priority int `json:"priority" minimum:"-100" maximum:"100" doc:"Higher goes first"`
	}
}

const jobsTag = "Jobs"

// registerJobs puts the routes about jobs on mux.
func (t *routes) registerJobs(api huma.API) {
	const at = "/api/v1/jobs"
	huma.Register(api, operation("list-jobs", http.MethodGet, at, "All jobs, the oldest first", jobsTag), t.listJobs)
	create := operation("create-job", http.MethodPost, at, "Analyse an upload (again, or with other settings)", jobsTag, 400, 404, 409, 503)
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, t.createJob)
	huma.Register(api, operation("get-job", http.MethodGet, at+"/{id}", "One job", jobsTag, 404), t.getJob)
	huma.Register(api, operation("change-job", http.MethodPatch, at+"/{id}", "Move a job within the queue", jobsTag, 404), t.patchJob)
	remove := operation("remove-job", http.MethodDelete, at+"/{id}", "Remove a job and its results", jobsTag, 404, 409, 503)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, t.removeJob)
	huma.Register(api, operation("cancel-job", http.MethodPost, at+"/{id}/cancel", "Stop a job; what it found stays", jobsTag, 404, 409), t.cancelJob)
	huma.Register(api, operation("retry-job", http.MethodPost, at+"/{id}/retry", "Try a job again, on from the results that it has", jobsTag, 404, 409, 503), t.retryJob)
	t.registerJobResults(api)

	api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[removedJob](), true, "RemovedJob")
	events := operation("jobs-events", http.MethodGet, at+"/events", "What happens to the jobs", jobsTag, 503)
	events.Description = "Server-sent events. `job`: a Job, first of all the present state, then when it changed, at most five times a second. " +
		"`removed`: a RemovedJob. `alive`: after ten seconds without another event. A slow reader gets the newest state of each job and never delays the box. " +
		"The stream ends after an hour or when the box shuts down: connect again."
	events.Responses = eventStreamResponse()
	huma.Register(api, events, t.jobsEvents)
}

func eventStreamResponse() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "Events until the reader leaves",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (t *routes) listJobs(context.Context, *struct{}) (*body[jobList], error) {
	return &body[jobList]{jobList{each(t.d.Jobs.List(), Job.brief)}}, nil
}

// job answers with a job, or with why there is none.
func (t *routes) job(j Job, err error) (*body[Job], error) {
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[Job]{j.whole()}, nil
}

func (t *routes) getJob(_ context.Context, in *jobID) (*body[Job], error) {
	return t.job(t.d.Jobs.Get(in.ID))
}

type createdJob struct {
	Location string `header:"Location" doc:"The job's address"`
	Body     Job
}

func (t *routes) createJob(ctx context.Context, in *body[NewJob]) (*createdJob, error) {
	j, err := t.d.Jobs.Create(ctx, in.Body)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &createdJob{"/api/v1/jobs/" + j.ID, j.whole()}, nil
}

func (t *routes) patchJob(ctx context.Context, in *jobPatch) (*body[Job], error) {
	return t.job(t.d.Jobs.SetPriority(ctx, in.ID, in.Body.Priority))
}

func (t *routes) cancelJob(ctx context.Context, in *jobID) (*body[Job], error) {
	return t.job(t.d.Jobs.Cancel(ctx, in.ID))
}

func (t *routes) retryJob(ctx context.Context, in *jobID) (*body[Job], error) {
	return t.job(t.d.Jobs.Retry(ctx, in.ID))
}

func (t *routes) removeJob(ctx context.Context, in *jobID) (*struct{}, error) {
	if err := t.d.Jobs.Remove(ctx, in.ID); err != nil {
		return nil, t.p.of(err)
	}
	return nil, nil
}

func (t *routes) jobsEvents(context.Context, *struct{}) (*huma.StreamResponse, error) {
	release, err := t.feed.reserve()
	if err != nil {
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer release()
		_, w := humago.Unwrap(ctx)
		news := newNews[JobEvent](t.d.Queues, jobNews)
		defer news.close()
		stop := t.d.Jobs.Watch(news.put)
		defer stop()
		t.feed.run(ctx.Context(), w, tale{
			wake: news.wake,
			pace: eventPace,
			begin: func(s *stream) {
				for _, j := range t.d.Jobs.List() {
					s.event("job", j.brief())
				}
			},
			more: func(s *stream) bool {
				events, lost := news.take()
				for _, e := range events {
					s.jobEvent(e, Job.brief)
				}
				return !lost
			},
		})
	}}, nil
}

func (s *stream) jobEvent(e JobEvent, view func(Job) Job) {
	if e.Job != nil {
		s.event("job", view(*e.Job))
	} else {
		s.event("removed", removedJob{e.Removed})
	}
}
