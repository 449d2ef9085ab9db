package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/state/boltfile"
)

// The power goes while a commit is being written. Of what was not yet synced the
// disk has any part, in sectors: whatever that is, the state before is whole. On
// this rest too what follows a failed write, and the copies of a running box's file.
func TestPowerCutDuringCommit(t *testing.T) {
	const sector, metaPages = 512, 2 * 4096
	d, _ := opened(t, Options{NoSync: true})
	fill(t, d)
	read := func() []byte {
		t.Helper()
		b, err := os.ReadFile(d.opt.Path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := read()
	cuts := 0
	for n := range 60 {
		err := d.Update(func(tx Tx) error {
			for range 1 + rand.IntN(5) {
				id := fmt.Sprintf("x%d", rand.IntN(40))
				if err := tx.Uploads().Put(id, Upload{ID: id, Name: strings.Repeat("z", rand.IntN(6000))}); err != nil {
					return err
				}
			}
			if err := tx.Jobs().Put("n", Job{Attempts: n + 1}); err != nil { // each commit differs
				return err
			}
			return tx.Uploads().Delete(fmt.Sprintf("x%d", rand.IntN(40)))
		})
		if err != nil {
			t.Fatal(err)
		}
		after := read()
		want := recordsOf(t, before)
		for range 6 {
			// bbolt makes the file longer, and syncs that, before it writes.
			cut := append(bytes.Clone(before), make([]byte, len(after)-len(before))...)
			share := rand.Float64()
			for at := metaPages; at < len(after); at += sector {
				if rand.Float64() < share {
					copy(cut[at:at+sector], after[at:])
				}
			}
			if got := recordsOf(t, cut); !maps.Equal(got, want) {
				t.Fatalf("commit %d: %d records are there after a power cut, want the %d of before", n, len(got), len(want))
			}
			cuts++
		}
		if maps.Equal(recordsOf(t, after), want) {
			t.Fatal("the commit changed nothing")
		}
		before = after
	}
	t.Logf("%d power cuts", cuts)
}

func recordsOf(t *testing.T, file []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	_, err := boltfile.Check(bytes.NewReader(file), int64(len(file)), func(path []string, k, v []byte) error {
		all[strings.Join(path, "/")+"/"+string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
