package job

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// bubble runs a test in time that passes by itself.
func bubble(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newDesk(t)) })
}

func segfault() link.Exit {
	return link.Exit{Err: fmt.Errorf("%w: signal: segmentation fault", link.ErrDied), Code: -1, Signal: syscall.SIGSEGV, Stderr: []string{"SIGSEGV: segmentation violation"}}
}

func TestAnUploadIsAnalysed(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		up, id := d.upload("F", func(u *state.Upload) {
			u.Settings = &state.Settings{Threshold: 0.4, Classes: []string{"car"}, Track: 1}
			u.Metadata = map[string]string{"priority": "9"}
		})
		w := d.worker(1)
		j := d.awaitStatus(id, state.JobRunning)
		if s := w.start; s.Mode != "file" || !s.Confine || s.Resume || s.Feed != nil || s.SHA256 != "abc" || s.Title != "clip.mp4" || s.Source.Track != 1 ||
			s.Source.URL != filepath.Join(d.files.dir, up) || s.OutDir != d.q.folder(id) || w.set.Model != "house-model" || w.set.Threshold != 0.4 {
			t.Errorf("the worker was told %+v, %+v", s, w.set)
		}
		if j.Priority != 9 || j.Attempts != 1 || j.Attempt == nil || j.Worker == nil || j.Worker.PID != 4711 || j.Settings.Model != "house-model" {
			t.Errorf("running: %+v", j)
		}
		if !d.q.InUse(up) {
			t.Error("its upload is not in use")
		}
		w.find(10)
		w.say(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: 12, Inferred: 10, Pending: 2}, Position: time.Second, Duration: 4 * time.Second, SourceFPS: 30, RSS: 5})
		j = d.await(id, "results", func(j Job) bool { return j.Results == 10 && j.Progress.Frames == 12 })
		if j.Progress.Percent != 25 || j.Progress.FPS != 30 || j.Ledger == nil || j.Ledger.Pending != 2 {
			t.Errorf("progress %+v", j.Progress)
		}
		w.find(5)
		w.finish()
		j = d.awaitStatus(id, state.JobDone)
		if j.Results != 15 || string(j.Outcome) != `{"results":15}` || j.Attempt != nil || j.Ended.IsZero() || j.Progress.Percent != 100 || j.Worker != nil && j.Status != state.JobDone {
			t.Errorf("done: %+v", j)
		}
		if got := d.q.OfUpload(up); !slices.Equal(got, []string{id}) {
			t.Errorf("jobs of the upload: %v", got)
		}
		time.Sleep(time.Second)
		if d.q.InUse(up) {
			t.Error("its upload is still in use")
		}
		d.stop()
		d.open()
		if j := d.awaitStatus(id, state.JobDone); j.Results != 15 || d.started() != 1 {
			t.Errorf("after a restart: %+v, %d workers", j, d.started())
		}
		r, err := d.q.Results(id, 11)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if last, err := drain(t, r); last != 15 || !errors.Is(err, io.EOF) {
			t.Errorf("results up to %d, %v", last, err)
		}
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		time.Sleep(time.Millisecond) // the older one goes first
		d.upload("F")
		w := d.worker(1)
		d.awaitStatus(id, state.JobRunning)
		d.exports(`watchpost_job_queue_depth 1`, `watchpost_jobs{status="queued"} 1`, `watchpost_jobs{status="running"} 1`,
			`watchpost_jobs{status="set_aside"} 0`, `watchpost_jobs_resting 0`, `watchpost_job_attempts_total 1`)
		w.find(1)
		w.finish()
		d.awaitStatus(id, state.JobDone)
		time.Sleep(time.Second)
		d.exports(`watchpost_job_queue_depth 0`, `watchpost_jobs{status="done"} 1`, `watchpost_job_attempt_ends_total{end="done"} 1`,
			`watchpost_job_attempt_ends_total{end="died"} 0`, `watchpost_job_seconds_count{end="done"} 1`, `watchpost_job_results_readers 1`)
	})
}

// exports fails the test unless the metrics have these lines.
func (d *desk) exports(lines ...string) {
	d.t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.PanicOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, l := range lines {
		if !strings.Contains(w.Body.String(), "\n"+l+"\n") {
			d.t.Errorf("%s is not among\n%s", l, w.Body)
		}
	}
}

func TestQueueOrderAndLimit(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.cfg.Concurrency = 2
		d.open()
		priority := func(n int) func(*state.Upload) {
			return func(u *state.Upload) {
				u.Metadata = map[string]string{"priority": fmt.Sprint(n)}
				u.Name = fmt.Sprint(n)
			}
		}
		for _, n := range []int{0, 1, 2, 3, 4} {
			d.upload("F", priority(n))
			time.Sleep(time.Millisecond)
		}
		d.worker(2)
		time.Sleep(time.Minute)
		if d.started() != 2 {
			t.Fatalf("%d workers at once, 2 are allowed", d.started())
		}
		last := d.q.List()[2] // priority 2, is to go last now
		if _, err := d.q.SetPriority(t.Context(), last.ID, -5); err != nil {
			t.Fatal(err)
		}
		if _, err := d.q.SetPriority(t.Context(), last.ID, 101); !errors.Is(err, ErrInvalid) {
			t.Errorf("priority 101: %v", err)
		}
		var names []string
		for n := 1; n <= 5; n++ {
			w := d.worker(n)
			names = append(names, w.start.Name)
			w.finish()
			time.Sleep(time.Second)
		}
		if want := []string{"0", "1", "4", "3", "2"}; !slices.Equal(names, want) {
			t.Errorf("order %v, want %v", names, want)
		}
	})
}

func TestFaults(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		w := d.worker(1)
		w.find(3)
		w.fault(link.FaultDamaged, w.start.Source.URL+": nothing in it could be decoded")
		j := d.awaitStatus(id, state.JobFailed)
		if j.Fault != "nothing in it could be decoded" || j.FaultKind != "damaged" || j.Results != 3 || d.started() != 1 {
			t.Errorf("damaged: %+v", j)
		}
		if r, _ := d.q.Results(id, 1); r != nil {
			if last, err := drain(t, r); last != 3 || !errors.Is(err, io.EOF) {
				t.Errorf("results so far: %d, %v", last, err)
			}
			r.Close()
		}
		// A user may have it tried again; it goes on from what there is.
		if _, err := d.q.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for n := 2; n <= 4; n++ {
			w = d.worker(n)
			if !w.start.Resume {
				t.Error("it begins anew")
			}
			before := time.Now()
			w.fault(link.FaultOutput, "no space left on the disk")
			if n == 4 {
				break
			}
			d.worker(n + 1)
			if wait := time.Since(before); wait < d.q.cfg.backoff(n-1) || wait > d.q.cfg.backoff(n-1)+2*time.Second {
				t.Errorf("try %d came after %v", n, wait)
			}
		}
		if j = d.awaitStatus(id, state.JobFailed); j.Retries != 2 || j.Attempts != 4 || j.Deaths != 0 {
			t.Errorf("after the retries: %+v", j)
		}
		d.mu.Lock()
		d.spawn = link.Fault{Kind: link.FaultModel, Message: "the model x is not installed"}
		d.mu.Unlock()
		if _, err := d.q.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if j = d.awaitStatus(id, state.JobFailed); j.FaultKind != "model" || !strings.Contains(j.Fault, "not installed") || j.Results != 3 {
			t.Errorf("without a worker: %+v", j)
		}
	})
}

func TestTwoDeathsSetAside(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		w := d.worker(1)
		w.find(4)
		w.die(segfault())
		j := d.await(id, "a death", func(j Job) bool { return j.Deaths == 1 && j.Status == state.JobQueued })
		if !strings.Contains(j.Fault, "SIGSEGV") || j.Results != 4 {
			t.Errorf("after one: %+v", j)
		}
		w = d.worker(2)
		w.find(1)
		w.die(segfault())
		j = d.awaitStatus(id, state.JobSetAside)
		if j.Deaths != 2 || !strings.Contains(j.Fault, "SIGSEGV: segmentation violation") || j.Results != 5 {
			t.Errorf("after two: %+v", j)
		}
		time.Sleep(time.Hour)
		d.stop()
		d.open()
		time.Sleep(time.Hour)
		if d.started() != 2 {
			t.Fatal("it was started again")
		}
		if _, err := d.q.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w = d.worker(3)
		w.find(1)
		w.finish()
		if j = d.awaitStatus(id, state.JobDone); j.Results != 6 || j.Deaths != 0 {
			t.Errorf("after a retry: %+v", j)
		}
		if _, err := d.q.Retry(t.Context(), id); !errors.Is(err, ErrConflict) {
			t.Errorf("a retry of what is done: %v", err)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, first := d.upload("F")
		w := d.worker(1)
		_, second := d.upload("F")
		d.awaitStatus(second, state.JobQueued)
		if _, err := d.q.Cancel(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.kept = true
		w.mu.Unlock()
		w.find(7)
		j, err := d.q.Cancel(t.Context(), first)
		if err != nil || j.Status != state.JobCanceled {
			t.Fatalf("%+v, %v", j, err)
		}
		if rec, _, _ := d.db.Jobs().Get(first); rec.Status != state.JobCanceled {
			t.Error("the answer came before it was durable")
		}
		r, err := d.q.Results(first, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if last, err := drain(t, r); last != 7 || err != nil {
			t.Errorf("while the worker goes: %d, %v", last, err)
		}
		w.find(2) // what it had in hand
		w.die(link.Exit{})
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.await(first, "the end", func(j Job) bool { return j.Attempt == nil && j.Results == 9 })
		time.Sleep(time.Second)
		if last, err := drain(t, r); last != 9 || !errors.Is(err, io.EOF) {
			t.Errorf("what was found stays: %d, %v", last, err)
		}
		if d.started() != 1 {
			t.Error("a canceled job was started")
		}
		if _, err := d.q.Cancel(t.Context(), first); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// The box stops in order: the job goes on at the next start as if nothing had been.
func TestOrderlyStopIsNoFault(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		for n := 1; n <= 5; n++ {
			d.worker(n).find(2)
			d.stop()
			d.open()
		}
		w := d.worker(6)
		w.find(2)
		w.finish()
		if j := d.awaitStatus(id, state.JobDone); j.Results != 12 || j.Deaths+j.Retries+j.Restarts+j.Reboots != 0 || j.Attempts != 6 {
			t.Errorf("%+v", j)
		}
	})
}

// The box went down, and the worker with it: the record tells, and the job goes
// on; always on the same one without progress, it is set aside.
func TestBoxWentDown(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		_, id := d.upload("F")
		down := func(boot string) {
			err := d.db.Jobs().Update(id, func(j *state.Job) error {
				j.Status, j.Attempt = state.JobRunning, &state.Attempt{Boot: boot, Bytes: settled(filepath.Join(d.dir, "jobs", id))}
				j.Attempts++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			d.openDB0()
			down("boot-0")
			d.open()
			if i < 2 {
				w := d.worker(i + 1)
				if !w.start.Resume {
					t.Error("it begins anew")
				}
				d.stop()
			}
		}
		j := d.awaitStatus(id, state.JobSetAside)
		if j.Reboots != 3 || j.Deaths != 0 || !strings.Contains(j.Fault, "whole machine") || d.started() != 2 {
			t.Errorf("%+v", j)
		}
	})
}

func (d *desk) openDB0() {
	if d.db == nil {
		d.openDB()
	}
}

// A worker that was through when the box went down needs no other one.
func TestCompleteFolderIsTakenAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		w := d.worker(1)
		w.find(20)
		w.complete()
		w.die(link.Exit{}) // its Done was lost
		if j := d.awaitStatus(id, state.JobDone); j.Results != 20 || d.started() != 1 || j.Retries != 1 {
			t.Errorf("%+v, %d workers", j, d.started())
		}
	})
}

// A database that takes nothing holds jobs up; it does not lose them, and no
// worker runs unnoted.
func TestDatabaseFails(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		_, id := d.upload("F")
		w := d.worker(1)
		d.db.Close()
		if _, err := d.q.Cancel(t.Context(), id); err == nil {
			t.Error("a cancel was answered that is not durable")
		}
		w.find(1)
		w.die(segfault())
		time.Sleep(time.Minute)
		if j, _ := d.q.Get(id); j.Job.Status != state.JobRunning || d.started() != 1 {
			t.Errorf("%+v", j)
		}
		d.stop()
		d.open() // the attempt is found open: the death was not noted, but nothing is lost
		if !d.worker(2).start.Resume {
			t.Error("it begins anew")
		}
	})
}

func TestJobsRestForLiveCameras(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.cfg.PauseForLive, d.cfg.Concurrency = true, 2
		var lost atomic.Uint64
		began := time.Now()
		d.live = func() []Camera {
			return []Camera{{ID: "yard", Playing: true, Decoded: uint64(time.Since(began).Seconds() * 30), Dropped: lost.Load()}}
		}
		d.open()
		_, id := d.upload("F")
		w := d.worker(1)
		for range 6 {
			lost.Add(20)
			time.Sleep(time.Second)
		}
		j := d.awaitStatus(id, state.JobPaused)
		if p, _ := w.lastPause(); !p.On || !strings.Contains(p.Reason, "camera yard") || !strings.Contains(j.Fault, "camera yard") {
			t.Errorf("told %+v; %+v", p, j)
		}
		_, second := d.upload("F")
		time.Sleep(5 * time.Second)
		if d.started() != 1 {
			t.Error("a job was begun meanwhile")
		}
		d.awaitStatus(id, state.JobRunning)
		if p, n := w.lastPause(); p.On || n != 2 {
			t.Errorf("after the rest: %+v, %d", p, n)
		}
		d.awaitStatus(second, state.JobRunning)
	})
}
