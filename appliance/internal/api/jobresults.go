package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// resultReaders is how many may wait for results at once. Each holds a
	// goroutine, and a block of the file while it has lines in it.
	resultReaders = 256
	// resultBatch is about how many bytes of events are collected for one write.
	resultBatch = 64 << 10
	// maxWait is the longest that an answer is held back.
	maxWait = 60
)

type resultsInput struct {
	ID    string `path:"id" maxLength:"64" doc:"The job's id"`
	From  uint64 `query:"from" default:"1" doc:"The first line wanted; lines are counted from 1"`
	Limit uint64 `query:"limit" default:"0" doc:"Most lines wanted. 0: all that there are"`
	Wait  int    `query:"wait" minimum:"0" maximum:"60" default:"0" doc:"Seconds to wait for the first line where it is not there yet"`
}

type resultEventsInput struct {
	ID   string `path:"id" maxLength:"64" doc:"The job's id"`
	From uint64 `query:"from" default:"1" doc:"The first line wanted; lines are counted from 1"`
	Last string `header:"Last-Event-ID" doc:"The last line that was received; wins over from"`
}

type jobFileInput struct {
	ID       string `path:"id" maxLength:"64" doc:"The job's id"`
	Name     string `path:"name" maxLength:"64" doc:"The file's name" example:"annotated.mp4"`
	Download bool   `query:"download" doc:"Have a browser save the file"`
}

func (t *routes) registerJobResults(api huma.API) {
	const at = "/api/v1/jobs/{id}"
	results := operation("job-results", http.MethodGet, at+"/results", "What was found, line by line", jobsTag, 404, 503)
	results.Description = "The results are a log: one JSON object per analysed frame, numbered by `seq` from 1. A line never changes once it can be read, " +
		"also if the box goes down; read on with `from` = Watchpost-Next, and nothing is missed or doubled."
	text := &huma.Schema{Type: huma.TypeString}
	results.Responses = map[string]*huma.Response{"200": {
		Description: "Lines from `from` on",
		Content:     map[string]*huma.MediaType{"application/x-ndjson": {Schema: text}},
		Headers: map[string]*huma.Param{
			"Watchpost-Next":     {Description: "The line after the last one of this answer", Schema: &huma.Schema{Type: huma.TypeInteger}},
			"Watchpost-Complete": {Description: "true: there are no more, and there will be none", Schema: &huma.Schema{Type: huma.TypeBoolean}},
		},
	}}
	huma.Register(api, results, t.jobResults)

	events := operation("job-events", http.MethodGet, at+"/events", "One job's results and changes as they come", jobsTag, 404, 503)
	events.Description = "Server-sent events. `result`: a line of the results, its number as the event's id. `job`: the Job, first of all, then when it changed. " +
		"`end`: the job has ended and all was told. `removed`: it is gone. `alive`: after ten seconds without another event. " +
		"A reader that comes back with Last-Event-ID misses nothing and gets nothing twice, however slow it is."
	events.Responses = eventStreamResponse()
	huma.Register(api, events, t.jobEvents)

	huma.Register(api, operation("job-files", http.MethodGet, at+"/files", "The files of a job's results", jobsTag, 404), t.jobFiles)
	file := operation("job-file", http.MethodGet, at+"/files/{name}", "One file of a job's results", jobsTag, 404)
	file.Description = "With Range, If-Range and ETag. annotated.mp4 and detections.jsonl can be had while they grow, as far as they are there: " +
		"Watchpost-Complete says false then. An annotated.mp4 that grows is another file than the one at the end, with another ETag."
	file.Responses = map[string]*huma.Response{
		"200": {Description: "The file", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		"206": {Description: "A part of it"}, "304": {Description: "As the reader has it"}, "416": {Description: "There is no such part, or not yet"},
	}
	huma.Register(api, file, t.jobFile)
}

// reserveReader takes one of the places of those who wait for results.
func (t *routes) reserveReader() (release func(), err error) {
	select {
	case t.readers <- struct{}{}:
		return func() { <-t.readers }, nil
	default:
		t.readersFull.Dropped(1)
		return nil, t.p.of(Explain(ErrUnavailable, fmt.Sprintf("%d readers wait for results already: try again in a moment, or ask without waiting.", resultReaders)))
	}
}

func (t *routes) jobResults(_ context.Context, in *resultsInput) (*huma.StreamResponse, error) {
	r, err := t.d.Jobs.Results(in.ID, in.From)
	if err != nil {
		return nil, t.p.of(err)
	}
	release := func() {}
	if in.Wait > 0 {
		if release, err = t.reserveReader(); err != nil {
			r.Close()
			return nil, err
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer release()
		defer r.Close()
		_, w := humago.Unwrap(hc)
		// First of all: the server's deadlines are shorter than a wait may be.
		t.sendResults(hc.Context(), newPacedWriter(w), r, in.Limit, time.Duration(in.Wait)*time.Second)
	}}, nil
}

// sendResults answers with the lines that there are, or that come before the
// wait is over.
func (t *routes) sendResults(ctx context.Context, w *pacedWriter, r JobResults, limit uint64, wait time.Duration) {
	next, lines, ended, err := awaitLine(ctx, r, wait)
	if err != nil {
		t.p.write(w, err)
		return
	}
	n := uint64(0)
	if lines >= next {
		n = lines - next + 1
	}
	if limit > 0 {
		n = min(n, limit)
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Watchpost-Next", strconv.FormatUint(next+n, 10))
	h.Set("Watchpost-Complete", strconv.FormatBool(ended && next+n > lines))
	t.copyLines(ctx, w, r, n)
}

// awaitLine returns when there is a line to read, or none to wait for.
func awaitLine(ctx context.Context, r JobResults, wait time.Duration) (next, lines uint64, ended bool, err error) {
	patient, cancel := context.WithTimeout(ctx, min(wait, maxWait*time.Second))
	defer cancel()
	for {
		next, lines, ended, err = r.Ready(ctx)
		if err != nil || lines >= next || ended || patient.Err() != nil {
			return next, lines, ended, err
		}
		_ = r.Wait(patient) // its end is seen above
	}
}

// copyLines writes n lines that are there. What keeps it from that ends the
// connection, so that the reader does not take a part for the whole.
func (t *routes) copyLines(ctx context.Context, w io.Writer, r JobResults, n uint64) {
	buf := make([]byte, 0, resultBatch)
	for range n {
		_, line, ok, err := r.Next(ctx)
		if err != nil || !ok {
			if err != nil && ctx.Err() == nil {
				t.d.Log.Warn("results could not be read", "err", err)
			}
			panic(http.ErrAbortHandler)
		}
		buf = append(append(buf, line...), '\n')
		if len(buf) >= resultBatch {
			if _, err := w.Write(buf); err != nil {
				panic(http.ErrAbortHandler)
			}
			buf = buf[:0]
		}
	}
	if _, err := w.Write(buf); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (t *routes) jobEvents(_ context.Context, in *resultEventsInput) (*huma.StreamResponse, error) {
	from := in.From
	if in.Last != "" {
		last, err := strconv.ParseUint(in.Last, 10, 63)
		if err != nil {
			return nil, t.p.of(Explain(ErrInvalid, "Last-Event-ID is the number of a line, as the events' ids are."))
		}
		from = last + 1
	}
	release, err := t.reserveReader()
	if err != nil {
		return nil, err
	}
	r, err := t.d.Jobs.Results(in.ID, from)
	if err != nil {
		release()
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer release()
		defer r.Close()
		_, w := humago.Unwrap(ctx)
		t.tellResults(ctx.Context(), w, in.ID, r)
	}}, nil
}

type endOfJob struct {
	Job     string `json:"job"`
	Status  string `json:"status"`
	Results uint64 `json:"results"`
}

// tellResults tells a job's results, and its changes between them.
func (t *routes) tellResults(ctx context.Context, w http.ResponseWriter, id string, r JobResults) {
	news := newNews[JobEvent](t.d.Queues, jobNews)
	defer news.close()
	stop := t.d.Jobs.Watch(func(e JobEvent) {
		if e.id() == id {
			news.put(e)
		}
	})
	defer stop()
	select {
	case news.wake <- struct{}{}: // there may be lines already
	default:
	}
	t.feed.run(ctx, w, tale{
		wake: news.wake,
		begin: func(s *stream) {
			if j, err := t.d.Jobs.Get(id); err == nil {
				s.event("job", j.whole())
			}
		},
		more: func(s *stream) bool {
			events, _ := news.take() // of one job none is lost
			for _, e := range events {
				if s.jobEvent(e, Job.whole); e.Job == nil {
					return false
				}
			}
			for {
				seq, line, ok, err := r.Next(ctx)
				switch {
				case errors.Is(err, io.EOF):
					t.tellEnd(s, id)
					return false
				case err != nil:
					s.event("problem", t.p.of(err))
					return false
				case !ok:
					return true
				}
				s.text("id: " + strconv.FormatUint(seq, 10) + "\nevent: result\ndata: ")
				s.line(line)
				s.text("\n\n")
				if s.buf.Len() >= resultBatch {
					select {
					case news.wake <- struct{}{}: // to go on after this write
					default:
					}
					return true
				}
			}
		},
	})
}

// line writes a line of the results. To JSON a carriage return is a space; in an event it
// would end the field, and a worker that its file has taken over could begin another.
func (s *stream) line(text []byte) {
	for {
		at := bytes.IndexByte(text, '\r')
		if at < 0 {
			s.buf.Write(text)
			return
		}
		s.buf.Write(text[:at])
		s.buf.WriteByte(' ')
		text = text[at+1:]
	}
}

// tellEnd says that the job has ended, and how.
func (t *routes) tellEnd(s *stream, id string) {
	j, err := t.d.Jobs.Get(id)
	if err != nil {
		s.event("removed", removedJob{id})
		return
	}
	s.event("job", j.whole())
	s.event("end", endOfJob{j.ID, j.Status, j.Results})
}

func (t *routes) jobFiles(_ context.Context, in *jobID) (*body[jobFileList], error) {
	files, err := t.d.Jobs.Files(in.ID)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[jobFileList]{jobFileList{list(files)}}, nil
}

func (t *routes) jobFile(_ context.Context, in *jobFileInput) (*huma.StreamResponse, error) {
	f, err := t.d.Jobs.OpenFile(in.ID, in.Name)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer f.Close()
		r, w := humago.Unwrap(ctx)
		h := w.Header()
		h.Set("Content-Type", f.Media)
		h.Set("ETag", strconv.Quote(f.Tag))
		h.Set("Watchpost-Complete", strconv.FormatBool(f.Complete))
		h.Set("Content-Disposition", disposition(in.Download, f.Source, f.Name))
		modified := f.Modified
		if f.Complete {
			h.Set("Cache-Control", "private, no-cache") // to be asked for again, and answered 304
		} else {
			modified = time.Time{} // it says nothing about the bytes that were there before
		}
		http.ServeContent(newPacedWriter(w), r, "", modified, f.Content)
	}}, nil
}

// disposition has a browser show or save a file, under a name that tells what it
// is the analysis of (RFC 6266).
func disposition(download bool, source, name string) string {
	kind := "inline"
	if download {
		kind = "attachment"
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) || r == 0x7f {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(source, "_"))
	if s := mime.FormatMediaType(kind, map[string]string{"filename": strings.TrimLeft(clean+"."+name, ".")}); s != "" {
		return s
	}
	return kind
}

// pacedWriter gives each write a deadline of its own: a large answer may take
// long, a reader that takes nothing may not.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func newPacedWriter(w http.ResponseWriter) *pacedWriter {
	p := &pacedWriter{w, http.NewResponseController(w)}
	_ = p.control.SetReadDeadline(time.Time{}) // as for event streams
	return p
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is below.
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }
