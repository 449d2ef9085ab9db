package state

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the fixture of the current schema version, where there is none")

// fixtureRecords are what every fixture in testdata holds: one of each kind of
// field, and enough to fill several pages.
func fixtureRecords() (uploads []Upload, jobs []Job) {
	at := func(i int) time.Time {
		return time.Date(2026, 3, 1, 12, 0, i, 123456789, time.UTC)
	}
	for i := range 40 {
		u := Upload{
			ID: fmt.Sprintf("u%025d", i), Name: fmt.Sprintf("Straße %d.mp4", i), Size: int64(i) << 20,
			Have: []Extent{{0, int64(i) << 10}, {int64(i)<<10 + 512, int64(i) << 20}}, Status: UploadReceiving,
			Created: at(i), Updated: at(i + 1), Expires: at(i + 2),
		}
		switch i % 4 {
		case 1:
			u.Status, u.SHA256, u.Completed = UploadComplete, fmt.Sprintf("%064x", i), at(i+1)
			u.Settings = &Settings{Model: "yolox-nano", Threshold: 0.25, Classes: []string{"person", "car"}, Gate: true, MaxFPS: 12.5, NoVideo: true, Track: 1}
		case 2:
			u.Status, u.Problem = UploadRefused, "the hash is another one"
			u.WantSHA256, u.NoJob = fmt.Sprintf("%064x", i), true
		case 3:
			u.Size, u.HashState, u.HashedTo, u.ChunkSize = -1, []byte{0, 1, 2, 255}, 4096, 65536
			u.Metadata = map[string]string{"filename": u.Name, "filetype": "video/mp4"}
		}
		uploads = append(uploads, u)
	}
	for i := range 12 {
		j := Job{
			ID: fmt.Sprintf("j%025d", i), Upload: uploads[i].ID, Name: uploads[i].Name, Status: JobQueued,
			Priority: i - 5, Settings: Settings{Model: "motion"}, Created: at(i),
		}
		switch i % 3 {
		case 1:
			j.Status, j.Attempts, j.Outcome, j.Results = JobDone, 1, json.RawMessage(`{"frames":250,"classes":{"person":3}}`), 250
			j.Started, j.Ended, j.Streamed = at(i+1), at(i+9), true
		case 2:
			j.Status, j.Attempts, j.Deaths, j.FaultKind, j.Fault = JobSetAside, 2, 2, "crash", "the decoder died twice"
			j.NotBefore = at(i + 60)
		}
		jobs = append(jobs, j)
	}
	return uploads, jobs
}

// fixtureWorkflows are in the fixtures from version 3 on.
func fixtureWorkflows() (workflows []Workflow) {
	for i := range 3 {
		at := time.Date(2026, 3, 2, 12, 0, i, 987654321, time.UTC)
		workflows = append(workflows, Workflow{
			Workspace: "yard", ID: fmt.Sprintf("count-%d", i), Created: at, Updated: at.Add(time.Hour),
			Specification: json.RawMessage(`{"version":"1.0","inputs":[],"steps":[],"outputs":[]}`),
		})
	}
	return workflows
}

func fill(t *testing.T, d *DB) {
	t.Helper()
	uploads, jobs := fixtureRecords()
	err := d.Update(func(tx Tx) error {
		for _, u := range uploads {
			if err := tx.Uploads().Put(u.ID, u); err != nil {
				return err
			}
		}
		for _, j := range jobs {
			if err := tx.Jobs().Put(j.ID, j); err != nil {
				return err
			}
		}
		for _, w := range fixtureWorkflows() {
			if err := tx.Workflows().Put(w.Workspace+"/"+w.ID, w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Run with -update when the schema gets a new version: its fixture is made once,
// by the code that first writes it, and is never made again.
func TestFixtureOfThisVersion(t *testing.T) {
	name := filepath.Join("testdata", fmt.Sprintf("v%d.db", schema))
	if _, err := os.Stat(name); err == nil {
		return
	}
	if !*update {
		t.Fatalf("there is no %s: run go test ./state -run TestFixtureOfThisVersion -update, and commit it", name)
	}
	path := filepath.Join(t.TempDir(), "watchpost.db")
	d, _ := opened(t, Options{Path: path})
	fill(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
