package upload

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// victimFolder in the environment makes this program one that is to be killed.
const victimFolder = "WATCHPOST_TEST_UPLOAD_VICTIM"

var killRounds = flag.Int("kill.rounds", 24, "how often a process is killed while it takes uploads")

const victimSize = 3 << 20

// victim takes uploads over all roads at once, and says what it acknowledges.
func victim() {
	dir := os.Getenv(victimFolder)
	db, _, err := state.Open(state.Options{Path: filepath.Join(dir, "state", "watchpost.db")})
	if err != nil {
		fail1(err)
	}
	sp, err := spool.Open(filepath.Join(dir, "uploads"))
	if err != nil {
		fail1(err)
	}
	began := time.Now()
	u, err := Open(Deps{DB: db, Spool: sp}, Config{Batch: 5 * time.Millisecond})
	if err != nil {
		fail1(err)
	}
	fmt.Printf("open %d\n", time.Since(began).Milliseconds())
	go u.Run(context.Background())
	for k := range uint64(3) {
		go victimUpload(u, k)
	}
	select {}
}

func fail1(err error) {
	fmt.Println("failed", err)
	os.Exit(1)
}

// victimUpload goes on with what is there of kind k, and then begins others.
func victimUpload(u *Uploads, k uint64) {
	name := fmt.Sprint("kind", k)
	for round := uint64(0); ; round++ {
		var i Info
		for _, x := range u.List() {
			if x.Name == name && x.Status == state.UploadReceiving {
				i = x
			}
		}
		number := k
		if i.ID == "" {
			var err error
			if i, err = u.Create(context.Background(), Spec{Name: name, Size: victimSize, SHA256: sumOf(content(number, 0, victimSize))}); err != nil {
				fail1(err)
			}
			fmt.Println("ack", i.ID, number, 0, 0)
		}
		for at := i.Contiguous; at < victimSize; {
			n := min(100_000, victimSize-at)
			if err := victimPart(u, k, i.ID, at, content(number, at, n)); err != nil {
				fail1(err)
			}
			fmt.Println("ack", i.ID, number, at, at+n)
			at += n
		}
	}
}

func victimPart(u *Uploads, k uint64, id string, at int64, p []byte) error {
	switch k {
	case 0:
		_, err := u.Append(context.Background(), id, at, bytes.NewReader(p))
		return err
	case 1:
		h := checksum("sha256")
		h.Write(p)
		_, err := u.AppendChecked(context.Background(), id, at, bytes.NewReader(p), int64(len(p)), "sha256", h.Sum(nil))
		return err
	}
	if err := u.Place(id, at, p); err != nil {
		return err
	}
	return u.Flush(context.Background(), id)
}

// TestKill kills a process that takes uploads, again and again: every byte that it acknowledged is there,
// and it always comes up again.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acked := map[string][]spool.Extent{}
	numbers := map[string]uint64{}
	slowest, bytesAcked := 0, int64(0)
	for round := range *killRounds {
		// In the first moments, and while bytes are coming.
		out := killOne(t, self, dir, round%3 > 0, time.Duration(1+rand.IntN(150))*time.Millisecond)
		for line := range strings.Lines(out) {
			var id string
			var number uint64
			var from, to int64
			var ms int
			switch {
			case !strings.HasSuffix(line, "\n"): // cut by the kill
			case strings.HasPrefix(line, "failed"):
				t.Fatal(line)
			case scan(line, "open %d", &ms):
				slowest = max(slowest, ms)
			case scan(line, "ack %s %d %d %d", &id, &number, &from, &to):
				numbers[id] = number
				acked[id] = spool.Union(acked[id], spool.Insert(nil, spool.Extent{From: from, To: to}))
				bytesAcked += to - from
			}
		}
		afterKill(t, dir, round, acked, numbers)
	}
	t.Logf("%d kills, %d uploads, %d bytes acknowledged; the slowest Open took %d ms", *killRounds, len(acked), bytesAcked, slowest)
	if bytesAcked == 0 {
		t.Error("nothing was acknowledged")
	}
}

func scan(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return err == nil && n == len(into)
}

// killOne runs the victim for a while after it has opened the store or, with late, acknowledged bytes.
func killOne(t *testing.T, self, dir string, late bool, after time.Duration) string {
	t.Helper()
	c := exec.Command(self)
	c.Env = append(os.Environ(), victimFolder+"="+dir)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(pipe)
	first := ""
	for {
		line, err := r.ReadString('\n')
		first += line
		if err != nil || !late || strings.HasPrefix(line, "ack") && !strings.HasSuffix(line, " 0 0\n") {
			break
		}
	}
	kill := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	rest, _ := io.ReadAll(r)
	kill.Stop()
	_ = c.Wait() // killed
	return first + string(rest)
}

func afterKill(t *testing.T, dir string, round int, acked map[string][]spool.Extent, numbers map[string]uint64) {
	t.Helper()
	b := start(t, setup{dir: dir, noRun: true})
	defer b.stopAll()
	listed := map[string]bool{}
	for _, i := range b.List() {
		listed[i.ID] = true
		number, known := numbers[i.ID]
		if !known { // its first word was cut off
			if _, err := fmt.Sscanf(i.Name, "kind%d", &number); err != nil {
				t.Fatal(err)
			}
		}
		path, err := b.Path(i.ID)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, file, i, number)
		for _, e := range acked[i.ID] {
			if end, there := spool.Next(i.Have, e.From, e.To); !there || end != e.To {
				t.Fatalf("round %d, %s: %v was acknowledged, there is %v", round, i.ID, e, i.Have)
			}
		}
		if i.Status == state.UploadComplete {
			// It was compared with the client's hash; make room.
			if err := b.Remove(context.Background(), i.ID); err != nil {
				t.Fatal(err)
			}
			delete(acked, i.ID)
			listed[i.ID] = true
		}
	}
	for id := range acked {
		if !listed[id] {
			t.Fatalf("round %d: %s was acknowledged and is gone", round, id)
		}
	}
}
