package state

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writeForever writes from several goroutines and says on standard output what
// was acknowledged: "writer number" is on disk.
func writeForever(path string) int {
	d, how, err := Open(Options{Path: path, BackupEvery: 20 * time.Millisecond, Keep: 3})
	if err == nil && (how.Restored != nil || len(how.Quarantined) > 0) {
		err = fmt.Errorf("a killed process left a damaged file: %+v", how)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { _ = d.Run(context.Background()) }()
	ack := make(chan string)
	for w := range 4 {
		id := fmt.Sprintf("u%d", w)
		u, _, err := d.Uploads().Get(id)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for n := u.HashedTo + 1; ; n++ {
				err := d.Update(func(tx Tx) error {
					if err := tx.Uploads().Put(id, Upload{ID: id, HashedTo: n, Name: strings.Repeat("x", int(n%3000))}); err != nil {
						return err
					}
					// Records come and go, so that pages do.
					if err := tx.Jobs().Delete(fmt.Sprintf("j%d-%d", w, n-20)); err != nil {
						return err
					}
					return tx.Jobs().Put(fmt.Sprintf("j%d-%d", w, n), Job{Upload: id, Results: uint64(n)})
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				ack <- fmt.Sprintf("%d %d", w, n)
			}
		}()
	}
	for s := range ack {
		fmt.Println(s)
	}
	return 0
}

// A process that is killed while it makes or migrates the database leaves one
// that opens, with every record.
func TestKilledWhileOpening(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "v1.db"))
	if err != nil {
		t.Fatal(err)
	}
	before, after := 0, 0
	for round := range 16 {
		o := place(t, file, nil)
		if round%4 == 3 { // there is none yet
			if err := os.Remove(o.Path); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+o.Path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		d, how := opened(t, o)
		if how.Restored != nil || how.Torn || len(how.Quarantined) > 0 {
			t.Fatalf("round %d: %+v", round, how)
		}
		if how.Migrated != nil || how.Created {
			before++
		} else {
			after++
		}
		uploads, jobs := fixtureRecords()
		for _, u := range uploads {
			if _, ok, err := d.Uploads().Get(u.ID); ok != (round%4 != 3) || err != nil {
				t.Fatalf("round %d: upload %s: %v %v", round, u.ID, ok, err)
			}
		}
		for _, j := range jobs {
			if _, ok, err := d.Jobs().Get(j.ID); ok != (round%4 != 3) || err != nil {
				t.Fatalf("round %d: job %s: %v %v", round, j.ID, ok, err)
			}
		}
	}
	t.Logf("killed before it was through: %d, after: %d", before, after)
}

// Whatever a process that is killed was told to be on disk is there, and no
// transaction is there in part.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "watchpost.db")
	var acked [4]int64
	total := int64(0)
	slowest := time.Duration(0)
	for round := range rounds {
		killWriter(t, path, &acked)
		start := time.Now()
		d, how, err := Open(Options{Path: path})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		slowest = max(slowest, time.Since(start))
		if how.Restored != nil || how.Torn || len(how.Quarantined) > 0 {
			t.Errorf("round %d: %+v", round, how)
		}
		total = checkWriters(t, d, &acked)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		// Without a last backup and the tidying of Close: only the lock goes.
		d.mu.Lock()
		d.closed = true
		if err := d.bolt.Close(); err != nil {
			t.Error(err)
		}
		d.mu.Unlock()
		if err := d.lock.release(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d rounds, %d transactions; the slowest opening took %v", rounds, total, slowest)
}

// killWriter lets the writer run for a random while, kills it and notes what it
// was told.
func killWriter(t *testing.T, path string, acked *[4]int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	more := lines.Scan() // it has begun to write
	kill := time.AfterFunc(time.Duration(rand.IntN(100_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for ; more; more = lines.Scan() {
		w, n, ok := strings.Cut(lines.Text(), " ")
		i, err := strconv.Atoi(w)
		v, err2 := strconv.ParseInt(n, 10, 64)
		if !ok || err != nil || err2 != nil {
			break // the line that it was killed in
		}
		acked[i] = max(acked[i], v)
	}
	_ = cmd.Wait()
	if errs.Len() > 0 {
		t.Fatalf("the writer: %s", errs.String())
	}
}

func checkWriters(t *testing.T, d *DB, acked *[4]int64) (total int64) {
	t.Helper()
	for w := range acked {
		u, _, err := d.Uploads().Get(fmt.Sprintf("u%d", w))
		if err != nil || u.HashedTo < acked[w] {
			t.Errorf("writer %d: %d is there, %d was acknowledged (%v)", w, u.HashedTo, acked[w], err)
		}
		acked[w] = u.HashedTo
		total += u.HashedTo
		for n := max(1, u.HashedTo-25); n <= u.HashedTo+1; n++ {
			_, ok, err := d.Jobs().Get(fmt.Sprintf("j%d-%d", w, n))
			if want := n <= u.HashedTo && n > u.HashedTo-20; ok != want || err != nil {
				t.Errorf("writer %d at %d: job %d there: %v, want %v (%v)", w, u.HashedTo, n, ok, want, err)
			}
		}
	}
	return total
}
