package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/watchpost/watchpost/appliance/internal/announce"
	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/job"
	"github.com/watchpost/watchpost/appliance/internal/queue"
	"github.com/watchpost/watchpost/appliance/internal/session"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/channel"
	"github.com/watchpost/watchpost/appliance/internal/worker"
	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// pushRoad is the side of the box that takes files: what is known of them, their
// bytes, their analysis, and the data channels that they may come over.
type pushRoad struct {
	db       *state.DB
	opened   state.Opened
	files    *spool.Dir
	uploads  *upload.Uploads
	jobs     *job.Jobs
	spawner  *worker.Spawner // of the jobs' workers, which give way to the cameras'
	sessions *session.Server
}

// openPushRoad opens the database and everything that stands on it, in the order in
// which it depends on each other.
func (b *box) openPushRoad() (err error) {
	in := &pushRoad{}
	b.push = in
	cfg, log := b.cfg, b.p.Log
	if in.db, in.opened, err = state.Open(state.Options{Path: cfg.StateFile(), BackupDir: cfg.BackupDir(), Log: log}); err != nil {
		return err
	}
	if in.files, err = spool.Open(cfg.UploadsDir()); err != nil {
		return fmt.Errorf("open the folder of pushed files: %w", err)
	}
	_, most := in.db.Writers()
	b.queues.Register("state writes", queue.Block, most, func() int { n, _ := in.db.Writers(); return n })
	jobWorkers := jobWorkerConfig(cfg.DataDir, int64(cfg.Jobs.MaxResults))
	jobWorkers.Queues = b.queues
	if in.spawner, err = worker.New(jobWorkers, log); err != nil {
		return err
	}
	pushed := &pushedFiles{}
	in.jobs, err = b.p.openJobs(jobParts{
		cfg: cfg, db: in.db, uploads: pushed, spawner: in.spawner, have: b.have,
		live: b.cameras.strained, loop: b.meter.Loop("jobs"), registerer: b.registry, queues: b.queues,
	})
	if err != nil {
		return err
	}
	in.uploads, err = upload.Open(upload.Deps{
		Log: log, DB: in.db, Spool: in.files, Registerer: b.registry, Queues: b.queues,
		OnComplete: in.jobs.Completed, InUse: func(id string) bool { return in.jobs.InUse(id) || b.sessions.inUse(id) }, Admit: in.admit, Unsure: unsure(in.opened),
	}, uploadConfig(cfg))
	if err != nil {
		return err
	}
	pushed.all = in.uploads
	in.sessions, err = session.New(session.Deps{
		Log: log, Peers: b.server.Peers(), Registerer: b.registry, Queues: b.queues,
		Services: map[string]session.Service{
			"video_upload":       in.takeFiles,
			session.ResultsLabel: session.Results(in.follow),
		},
	}, cfg.WebRTC.MaxViewers)
	return err
}

// unsure tells the uploads which files may have lost their records with a database.
func unsure(o state.Opened) func(time.Time) bool {
	lost := o.Restored != nil || len(o.Quarantined) > 0
	return func(written time.Time) bool { return lost || written.Before(o.Aside) }
}

// admit refuses files while there is no room for their analyses.
func (in *pushRoad) admit() error {
	if err := in.jobs.Full(); err != nil {
		return fmt.Errorf("%w: %w", upload.ErrTooMany, err)
	}
	return nil
}

func uploadConfig(cfg *config.Config) upload.Config {
	u := cfg.Uploads
	return upload.Config{
		MaxSize: int64(u.MaxSize), Quota: int64(u.Quota), Reserve: int64(u.Reserve),
		MaxOpen: u.MaxOpen, Expiry: u.Expiry, KeepComplete: u.Keep,
	}
}

// takeFiles serves an upload channel.
func (in *pushRoad) takeFiles(ctx context.Context, ch session.Channel) error {
	return channel.Serve(ctx, ch, in.uploads, channel.Options{
		Name: "upload " + time.Now().Format("2006-01-02 15:04:05"),
		JobOf: func(id string) string {
			if all := in.jobs.OfUpload(id); len(all) > 0 {
				return all[len(all)-1]
			}
			return ""
		},
	})
}

// follow reads a job's results for a results channel.
func (in *pushRoad) follow(ctx context.Context, id string, from uint64, take func(uint64, []byte) error) (string, uint64, error) {
	for line, err := range in.jobs.Follow(ctx, id, from) {
		if err == nil {
			err = take(line.Seq, line.Data)
		}
		if err != nil {
			return "", 0, err
		}
	}
	j, err := in.jobs.Get(id)
	return string(j.Status), j.Results, err
}

// front is the API's side of it.
func (b *box) front(d *api.Deps) error {
	in := b.push
	check := func(s state.Settings) error { return b.p.checkSettings(b.cfg, s) }
	u := &uploads{all: in.uploads, jobs: in.jobs.OfUpload}
	tus, bodies, err := b.roads(u, int64(b.cfg.Uploads.MaxSize), check)
	if err != nil {
		return err
	}
	d.Uploads, d.Jobs = u, &jobs{all: in.jobs, check: check}
	d.Tus, d.Bodies, d.Channel = tus, bodies, in.sessions.Handler()
	return nil
}

// run is the road's life, but for the jobs', who need the machine to be warm. What
// is open stays so until close.
func (in *pushRoad) run(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return in.db.Run(ctx) })
	g.Go(func() error { return in.uploads.Run(ctx) })
	g.Go(func() error { return in.sessions.Run(ctx) })
}

// close takes down what openPushRoad has opened, the last first.
func (in *pushRoad) close() error {
	var errs []error
	if in.sessions != nil {
		in.sessions.Close()
	}
	if in.uploads != nil {
		errs = append(errs, in.uploads.Close())
	}
	if in.spawner != nil {
		in.spawner.Close()
	}
	if in.files != nil {
		errs = append(errs, in.files.Close())
	}
	if in.db != nil {
		errs = append(errs, in.db.Close())
	}
	return errors.Join(errs...)
}

// announce makes the box known in its network, if it can be reached from there.
// A network without multicast costs the name, nothing else.
func (b *box) announce(ctx context.Context) error {
	_, text, err := net.SplitHostPort(b.listener.Addr().String())
	if err != nil || b.cfg.Loopback() {
		return nil
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	if err := announce.Run(ctx, announce.Service{Name: hostName(), Port: port, Version: b.p.Version}); err != nil && ctx.Err() == nil {
		b.p.Log.Warn("the box cannot be found by name", "err", err)
	}
	return nil
}
