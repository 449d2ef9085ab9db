package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/state"
)

// arriving is an upload that the test lets grow.
type arriving struct {
	d *desk
	u state.Upload
}

func (d *desk) arrive(kind string) *arriving {
	a := &arriving{d: d, u: state.Upload{ID: state.NewUploadID(), Name: "big.mkv", Size: 10 << 20, Status: state.UploadReceiving}}
	d.write(a.u.ID, kind)
	d.files.put(FileOf(a.u))
	return a
}

func (a *arriving) grow(to int64) {
	a.u.Have = []state.Extent{{From: 0, To: to}}
	a.d.files.put(FileOf(a.u))
}

// complete is what the uploads do at the end: the job in their transaction, then
// the news.
func (a *arriving) complete() {
	a.d.t.Helper()
	a.grow(a.u.Size)
	a.u.Status = state.UploadChecking
	a.d.files.put(FileOf(a.u))
	time.Sleep(time.Second)
	a.u.Status, a.u.SHA256 = state.UploadComplete, "feed"
	if err := a.d.db.Update(func(tx state.Tx) error { return a.d.q.Completed(tx, a.u) }); err != nil {
		a.d.t.Fatal(err)
	}
	a.d.files.put(FileOf(a.u))
}

func (a *arriving) job() string { return ownJob(a.u.ID) }

// Whoever is told that an upload is complete finds its job, though the intake has not
// heard of it yet.
func TestJobJustMade(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("x")
		a.u.Status, a.u.SHA256 = state.UploadComplete, "feed"
		a.d.write(a.u.ID, "x")
		if got := d.q.OfUpload(a.u.ID); len(got) > 0 {
			t.Errorf("jobs before the upload is complete: %v", got)
		}
		if err := d.db.Update(func(tx state.Tx) error { return d.q.Completed(tx, a.u) }); err != nil {
			t.Fatal(err)
		}
		if got := d.q.OfUpload(a.u.ID); len(got) != 1 || got[0] != a.job() {
			t.Errorf("jobs once it is: %v", got)
		}
		told := time.AfterFunc(100*time.Millisecond, func() { d.files.put(FileOf(a.u)) })
		defer told.Stop()
		if j, err := d.q.Get(a.job()); err != nil || j.ID != a.job() {
			t.Errorf("the job: %+v, %v", j, err)
		}
		d.worker(1).finish()
		d.awaitStatus(a.job(), state.JobDone)
		time.Sleep(time.Second) // until the intake has heard of it, which makes no other job
		if err := d.q.Remove(t.Context(), a.job()); err != nil {
			t.Fatal(err)
		}
		if got := d.q.OfUpload(a.u.ID); len(got) > 0 {
			t.Errorf("jobs after it was removed: %v", got)
		}
	})
}

// A file whose index is in front is analysed as it arrives.
func TestAnalysisWhileUploading(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("F")
		a.grow(5)
		time.Sleep(time.Second)
		if len(d.q.List()) != 0 {
			t.Error("a job was made of five bytes")
		}
		a.grow(5000)
		w := d.worker(1)
		j := d.awaitStatus(a.job(), state.JobRunning)
		if f := w.start.Feed; f == nil || f.Bytes != 5000 || f.Complete || !j.Streamed {
			t.Errorf("the worker was told %+v; %+v", f, j)
		}
		if d.q.InUse(a.u.ID) {
			t.Error("an upload that arrives cannot be removed")
		}
		a.grow(9000)
		time.Sleep(time.Second)
		if g := w.lastGrown(); g != (link.Grow{Bytes: 9000}) {
			t.Errorf("told %+v", g)
		}
		if err := d.q.Remove(t.Context(), j.ID); !errors.Is(err, ErrConflict) {
			t.Errorf("removed, it would come back: %v", err)
		}
		w.find(2)
		d.stop() // as a stream to its end, also by another worker
		d.open()
		w = d.worker(2)
		if w.start.Feed == nil || w.start.Feed.Bytes != 9000 || !w.start.Resume {
			t.Errorf("after a restart: %+v", w.start)
		}
		a.complete()
		time.Sleep(time.Second)
		if g := w.lastGrown(); g != (link.Grow{Bytes: a.u.Size, Complete: true, SHA256: "feed"}) {
			t.Errorf("at the end: %+v", g)
		}
		d.stop()
		d.open()
		w = d.worker(3)
		if w.start.Feed == nil || !w.start.Feed.Complete || w.start.SHA256 != "feed" {
			t.Errorf("after the end: %+v", w.start)
		}
		w.find(1)
		w.finish()
		if j := d.awaitStatus(a.job(), state.JobDone); j.Results != 3 || len(d.q.List()) != 1 {
			t.Errorf("%+v, %d jobs", j, len(d.q.List()))
		}
	})
}

// A file whose index is at the end waits and says why; so does what is no
// container known here, without a remark of its own.
func TestIndexAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		for kind, remark := range map[string]string{"E": "index at end: analysis starts after the last byte", "?": "analysis starts after the last byte"} {
			a := d.arrive(kind)
			a.grow(500)
			j := d.awaitStatus(a.job(), state.JobWaiting)
			if j.Fault != remark || d.started() != 0 {
				t.Errorf("%s: %+v", kind, j)
			}
			extra, err := d.q.Create(t.Context(), Spec{Upload: a.u.ID, Settings: state.Settings{Model: "motion"}, Priority: -1})
			if err != nil {
				t.Fatal(err)
			}
			d.await(extra.ID, "the remark", func(j Job) bool { return j.Status == state.JobWaiting && j.Fault == remark })
			a.complete()
			w := d.worker(1)
			if w.start.Feed != nil || w.start.SHA256 != "feed" {
				t.Errorf("%s: %+v", kind, w.start)
			}
			w.finish()
			d.worker(2).finish()
			if j := d.awaitStatus(extra.ID, state.JobDone); j.Settings.Model != "motion" || j.Streamed {
				t.Errorf("%+v", j)
			}
			d.awaitStatus(a.job(), state.JobDone)
			d.mu.Lock()
			d.procs = nil
			d.mu.Unlock()
		}
	})
}

// A stalled upload does not keep a place in the queue.
func TestStalledUpload(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("F")
		a.grow(1 << 20)
		w := d.worker(1)
		w.find(9)
		for range 20 { // it still has something to do
			w.say(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: w.seq}, CPU: time.Duration(w.seq) * time.Second})
			w.seq++
			time.Sleep(2 * time.Second)
		}
		if d.started() != 1 {
			t.Fatal("it was stopped though it was at work")
		}
		w.seq = 9
		time.Sleep(25 * time.Second)
		_, other := d.upload("F")
		j := d.awaitStatus(a.job(), state.JobWaiting)
		if j.Fault != "waiting for more of the upload" || j.Results != 9 || j.Deaths != 0 {
			t.Errorf("%+v", j)
		}
		d.worker(2).finish()
		d.awaitStatus(other, state.JobDone)
		a.grow(1<<20 + 1000) // not worth it
		time.Sleep(time.Minute)
		if d.started() != 2 {
			t.Error("a few bytes had it started")
		}
		a.grow(2 << 20)
		w = d.worker(3)
		if !w.start.Resume || w.start.Feed.Bytes != 2<<20 {
			t.Errorf("%+v", w.start)
		}
		w.find(1)
		d.await(a.job(), "results", func(j Job) bool { return j.Results == 10 })
		d.awaitStatus(a.job(), state.JobWaiting)
		a.complete() // bytes enough, or the end
		w = d.worker(4)
		w.find(1)
		w.finish()
		if j := d.awaitStatus(a.job(), state.JobDone); j.Results != 11 {
			t.Errorf("%+v", j)
		}
	})
}

// An upload that trickles in does not keep those waiting that are complete.
func TestTricklingUpload(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("F")
		a.grow(1 << 20)
		w := d.worker(1)
		trickle := func(dur time.Duration, cpu float64) {
			for end := time.Now().Add(dur); time.Now().Before(end); time.Sleep(time.Second) {
				a.grow(a.u.Have[0].To + 10_000)
				w.seq++
				w.say(link.KindBeat, link.Beat{Ledger: link.Ledger{Decoded: w.seq}, CPU: time.Duration(cpu * float64(w.seq) * 1e9)})
			}
		}
		trickle(5*time.Minute, 0.1) // nobody else wants the place
		_, other := d.upload("F")
		trickle(70*time.Second, 0.1)
		if j := d.awaitStatus(a.job(), state.JobWaiting); j.Deaths != 0 {
			t.Errorf("%+v", j)
		}
		d.worker(2).finish()
		d.awaitStatus(other, state.JobDone)
		a.grow(8 << 20)
		time.Sleep(time.Minute)
		if d.started() != 2 {
			t.Error("it goes on for a few bytes")
		}
		a.complete()
		w = d.worker(3)
		d.upload("F")
		w.seq = 0
		trickle(5*time.Minute, 0.1)
		if d.started() != 3 {
			t.Error("a complete file has to give way")
		}
		w.seq = 0
		w.finish()
		d.awaitStatus(a.job(), state.JobDone)

		a = d.arrive("F")
		d.worker(4).finish()
		a.grow(1 << 20)
		w = d.worker(5)
		d.upload("F")
		trickle(5*time.Minute, 0.9) // it works
		if d.started() != 5 {
			t.Error("one that works has to give way")
		}
	})
}

// An upload that goes takes its jobs with it, and says why.
func TestUploadGoes(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		gone, refused := d.arrive("F"), d.arrive("E")
		gone.grow(5000)
		refused.grow(5000)
		w := d.worker(1)
		w.find(5)
		d.awaitStatus(refused.job(), state.JobWaiting)
		refused.u.Status, refused.u.Problem = state.UploadRefused, "its hash is another"
		d.files.put(FileOf(refused.u))
		d.files.put(File{ID: gone.u.ID, Gone: true})
		j := d.awaitStatus(gone.job(), state.JobCanceled)
		if j.Fault != "the upload was removed" || j.FaultKind != faultUpload {
			t.Errorf("removed: %+v", j)
		}
		if j := d.awaitStatus(refused.job(), state.JobCanceled); j.Fault != "the upload was refused: its hash is another" {
			t.Errorf("refused: %+v", j)
		}
		time.Sleep(time.Second)
		if j, _ := d.q.Get(gone.job()); j.Results != 5 || w.stops == 0 {
			t.Errorf("what was found: %+v", j)
		}
		if _, err := d.q.Retry(t.Context(), gone.job()); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "send the file again") {
			t.Errorf("a retry: %v", err)
		}
		if _, err := d.q.Create(t.Context(), Spec{Upload: gone.u.ID}); !errors.Is(err, ErrNotFound) {
			t.Errorf("another job: %v", err)
		}
		// Gone while the box was down.
		_, id := d.upload("F")
		d.awaitStatus(id, state.JobRunning)
		d.stop()
		d.files.mu.Lock()
		clear(d.files.files)
		d.files.mu.Unlock()
		d.open()
		if j := d.awaitStatus(id, state.JobCanceled); j.Fault != "the upload is not here any more" {
			t.Errorf("%+v", j)
		}
	})
}

// An upload that becomes complete and goes before the jobs have heard of it leaves no
// job that waits for ever.
func TestUploadGoesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("x")
		a.u.Status, a.u.SHA256 = state.UploadComplete, "feed"
		if err := d.db.Update(func(tx state.Tx) error { return d.q.Completed(tx, a.u) }); err != nil {
			t.Fatal(err)
		}
		d.files.put(File{ID: a.u.ID, Gone: true})
		time.Sleep(time.Second)
		// The second reason: it went before the jobs had begun to watch the uploads.
		j, err := d.q.Get(a.job())
		if err != nil || j.Status != state.JobCanceled || j.Fault != "the upload was removed" && j.Fault != "the upload is not here any more" {
			t.Errorf("its job: %+v, %v", j, err)
		}
	})
}

// What cannot be read as a stream is read when it is whole.
func TestStreamThatIsNone(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		n := 1
		for _, whole := range []bool{false, true} { // before or after the last byte
			a := d.arrive("F")
			a.grow(5000)
			w := d.worker(n)
			if whole {
				a.complete()
				time.Sleep(time.Second)
			}
			w.fault(link.FaultUnsupported, "no index")
			if !whole {
				j := d.awaitStatus(a.job(), state.JobWaiting)
				if !strings.Contains(j.Fault, "(no index)") || j.Streamed {
					t.Errorf("%+v", j)
				}
				a.grow(6000)
				time.Sleep(time.Minute)
				a.complete()
			}
			w = d.worker(n + 1)
			n += 2
			if w.start.Feed != nil {
				t.Errorf("%+v", w.start)
			}
			w.fault(link.FaultUnsupported, "no index")
			if j := d.awaitStatus(a.job(), state.JobFailed); j.Attempts != 2 || j.Fault != "no index" {
				t.Errorf("%+v", j)
			}
		}
	})
}

// An upload that wants no job gets none, but may be asked for.
func TestNoJob(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.open()
		a := d.arrive("F")
		a.u.NoJob = true
		a.grow(5000)
		a.complete()
		time.Sleep(time.Minute)
		if len(d.q.List()) != 0 {
			t.Fatal("it got one")
		}
		j, err := d.q.Create(t.Context(), Spec{Upload: a.u.ID})
		if err != nil {
			t.Fatal(err)
		}
		if w := d.worker(1); w.start.Feed != nil || w.start.OutDir != d.q.folder(j.ID) {
			t.Errorf("%+v", w.start)
		}
	})
}
