package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/camera"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/session/rtcworker"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/channel"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/plan"
)

// sessionNiceness is that of sessions' workers: behind the cameras', whose frames
// nobody can send again, and before the jobs', for whom nobody waits.
const sessionNiceness = niceness + 2

// peerSessions is the side of the box that analyses for one client at a time.
type peerSessions struct {
	all     *rtcworker.Server // nil: the box serves none
	spawner *worker.Spawner
	models  catalogue
}

// sessionWorkerConfig is how workers of sessions are started. They may be many for
// the machine, so that being slow must not pass for being hung.
func sessionWorkerConfig(cfg *config.Config) worker.Config {
	c := workerConfig(cfg.DataDir, sessionNiceness)
	c.HelloTimeout, c.BeatTimeout = time.Minute, 30*time.Second
	c.MemoryLimit = uint64(cfg.Sessions.Memory)
	c.Expendable = true
	return c
}

// openSessions builds them on what takes files, and on what makes peers.
func (b *box) openSessions() (err error) {
	cfg := b.cfg
	b.sessions = &peerSessions{models: catalogue{dir: cfg.ModelsDir(), read: func() ([]api.Model, error) { return listModels(cfg) }}}
	if b.workflows, err = workflow.NewStore(b.push.db, b.installed); err != nil {
		return err
	}
	if cfg.Sessions.Most == 0 {
		return nil
	}
	workers := sessionWorkerConfig(cfg)
	workers.Queues = b.queues
	if b.sessions.spawner, err = worker.New(workers, b.p.Log); err != nil {
		return err
	}
	c := rtcworker.Config{
		Most: cfg.Sessions.Most, Window: cfg.Sessions.Window, Silence: cfg.Sessions.Silence,
		Offline: cfg.WebRTC.Offline, Gzip: cfg.Sessions.Gzip, JPEGQuality: cfg.Sessions.JPEGQuality,
	}
	for _, s := range cfg.WebRTC.ICEServers {
		c.ICEServers = append(c.ICEServers, rtcworker.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	b.sessions.all, err = rtcworker.New(rtcworker.Deps{
		Log: b.p.Log, Peers: b.server.Peers(),
		Spawn: b.spawnSession, Receive: b.push.receive, Discard: b.discard,
		Workflow: b.workflow, Prepare: b.prepareSession,
		Loops:  func(name string) rtcworker.Loop { return b.meter.Loop(name) },
		Queues: b.queues, Registerer: b.registry,
	}, c)
	return err
}

// spawnSession starts a session's worker. Its source is a client's address, with the
// password of a camera that is perhaps none of the box's.
func (b *box) spawnSession(ctx context.Context, start link.Start, handle func(link.Message)) (rtcworker.Process, error) {
	clean := camera.Scrub(start.Source.URL, plan.Redact)
	w, err := b.sessions.spawner.Start(ctx, start, func(m link.Message) {
		m.Value = cleanReport(m.Value, clean)
		handle(m)
	}, clean)
	if err != nil {
		return nil, err // not a nil *Worker in a Process
	}
	return sessionWorker{w, clean}, nil
}

// sessionWorker tells of its end without its source's secrets.
type sessionWorker struct {
	*worker.Worker
	clean func(string) string
}

// Wait returns when the worker has ended.
func (w sessionWorker) Wait() link.Exit {
	exit := w.Worker.Wait()
	if f := exit.Fault; f != nil {
		said := cleanReport(*f, w.clean).(link.Fault)
		if exit.Fault = &said; errors.As(exit.Err, new(link.Fault)) {
			exit.Err = said
		}
	}
	return exit
}

// cleanReport takes a source's secrets out of what a worker says in words: they are told to the
// client, the log and whoever asks for the sessions.
func cleanReport(value any, clean func(string) string) any {
	switch v := value.(type) {
	case link.Fault:
		v.Message = clean(v.Message)
		return v
	case link.Status:
		v.Reason = clean(v.Reason)
		return v
	}
	return value
}

// prepareSession fills in what is known at this moment of models and of the hardware.
func (b *box) prepareSession(start *link.Start) error {
	if !start.Session.NoModel {
		m, err := b.p.findModel(b.cfg.ModelsDir(), start.Model)
		if err != nil {
			return link.Fault{Kind: link.FaultModel, Message: err.Error()}
		}
		start.Model = m.path
	}
	r := b.have.report.Load()
	start.Decoders, start.RefusedElements = r.Decoders(), r.Refused()
	return nil
}

// workflow compiles what a client asks for, or the workflow of that name.
func (b *box) workflow(_ context.Context, c rtcworker.Configuration) (*workflow.Graph, error) {
	if c.Named() {
		return b.workflows.Compile(c.Request, c.Workspace, c.Workflow)
	}
	return workflow.Compile(c.Request, b.installed)
}

// installed lists the analysers that a workflow may name.
func (b *box) installed() []workflow.Model {
	list := []workflow.Model{{Name: config.Motion, Labels: []string{config.Motion}}}
	all, err := b.sessions.models.models()
	if err != nil {
		b.p.Log.Warn("the installed models could not be listed", "err", err)
	}
	for _, m := range all {
		if m.Problem == "" {
			list = append(list, workflow.Model{Name: m.Name, Labels: m.Labels})
		}
	}
	return list
}

// receive takes a session's file, which no job is made of.
func (in *pushRoad) receive(ctx context.Context, ch session.Channel, r rtcworker.Receiving) error {
	return channel.Serve(ctx, ch, in.uploads, channel.Options{
		Name: r.Name, NoJob: true, Heard: r.Heard, Begun: r.Begun, Failed: r.Failed,
		Complete: func(id string) {
			path, err := in.uploads.Path(id)
			if err != nil {
				r.Failed(id, err)
				return
			}
			r.Complete(id, path)
		},
	})
}

// discard removes a session's file. What goes wrong is the janitor's to mend.
func (b *box) discard(id string) {
	if err := b.push.uploads.Remove(context.Background(), id); err != nil && !errors.Is(err, upload.ErrNotFound) {
		b.p.Log.Warn("a session's file was not removed; it is when it expires", "upload", id, "err", err)
	}
}

// handler answers the worker protocol.
func (s *peerSessions) handler() http.Handler {
	if s.all != nil {
		return s.all.Handler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"status":"error","message":"This box serves no sessions: its configuration says sessions.most: 0."}`)
	})
}

// run is the sessions' life: it ends with ctx, and once every peer was told.
func (s *peerSessions) run(ctx context.Context) error {
	if s.all == nil {
		<-ctx.Done()
		return nil
	}
	return s.all.Run(ctx)
}

func (s *peerSessions) close() {
	if s.all != nil {
		s.all.Close()
	}
	if s.spawner != nil {
		s.spawner.Close()
	}
}

// inUse tells whether a session needs an upload's file.
func (s *peerSessions) inUse(id string) bool { return s != nil && s.all != nil && s.all.InUse(id) }

// List implements api.WorkerSessions.
func (s *peerSessions) List() []api.WorkerSession {
	if s.all == nil {
		return nil
	}
	all := s.all.List()
	out := make([]api.WorkerSession, len(all))
	for i, x := range all {
		out[i] = api.WorkerSession{
			ID: x.ID, Source: x.Source, State: x.State, Reason: x.Reason, Since: x.Since, Peer: x.Peer,
			Frames: x.Frames, Documents: x.Documents, LeftOut: x.LeftOut, Bytes: x.Bytes, Video: x.Video, PID: x.PID,
		}
		if x.Ledger != nil {
			l := ledgerView(*x.Ledger)
			out[i].Ledger = &l
		}
	}
	return out
}

// End implements api.WorkerSessions.
func (s *peerSessions) End(id string) error {
	if s.all == nil || !s.all.End(id) {
		return api.ErrNotFound
	}
	return nil
}
