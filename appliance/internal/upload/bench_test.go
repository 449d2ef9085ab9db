package upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// source gives n bytes that cost next to nothing to make, in reads of at most step.
type source struct {
	block []byte
	left  int64
	step  int
}

func newSource(n int64) *source {
	block := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(block)
	return &source{block: block, left: n, step: 256 << 10}
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step, int(min(s.left, 1<<20)))], s.block)
	s.left -= int64(n)
	return n, nil
}

const benchSize = 1 << 30

// BenchmarkAppend is 1 GiB, durable when it ends.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	db, _, err := state.Open(state.Options{Path: filepath.Join(dir, "state", "db")})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	sp, err := spool.Open(filepath.Join(dir, "uploads"))
	if err != nil {
		b.Fatal(err)
	}
	u, err := Open(Deps{DB: db, Spool: sp}, Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	b.SetBytes(benchSize)
	before, most := resident(b), 0
	for b.Loop() {
		i, err := u.Create(context.Background(), Spec{Size: benchSize})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := u.Append(context.Background(), i.ID, 0, newSource(benchSize)); err != nil || n != benchSize {
			b.Fatal(n, err)
		}
		b.StopTimer()
		most = max(most, resident(b)-before)
		if err := u.Remove(context.Background(), i.ID); err != nil {
			b.Fatal(err)
		}
		u.emptyTrash(context.Background())
		b.StartTimer()
	}
	b.ReportMetric(float64(most)/(1<<20), "MiB-grown")
}

// resident is the memory of this process, bytes.
func resident(b *testing.B) int {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(status), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkCopy is io.Copy into a file that is never synced.
func BenchmarkCopy(b *testing.B) {
	name := filepath.Join(b.TempDir(), "file")
	b.SetBytes(benchSize)
	for b.Loop() {
		f, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(f, struct{ io.Reader }{newSource(benchSize)}); err != nil {
			b.Fatal(err)
		}
		f.Close()
		b.StopTimer()
		os.Remove(name)
		b.StartTimer()
	}
}

// BenchmarkSmall is 4 KiB, acknowledged, from several clients at once.
func BenchmarkSmall(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			u := start(b, setup{dir: b.TempDir()})
			defer u.stopAll()
			var wait sync.WaitGroup
			each := int64(b.N/clients + 1)
			for range clients {
				i := mustCreate(b, u, Spec{Size: -1})
				wait.Go(func() {
					for k := range each {
						if _, err := u.Append(context.Background(), i.ID, k<<12, bytes.NewReader(content(1, k<<12, 4<<10))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wait.Wait()
		})
	}
}
