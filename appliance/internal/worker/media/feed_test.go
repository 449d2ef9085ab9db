package media

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/results"
)

// A pipe gives exactly what was announced, when it was announced, and ends with the
// file.
func TestFeedGivesWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 40<<10) // more than a pipe holds
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var f feed
	fd, poured, err := f.pipe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(fd), "pipe")
	defer in.Close()
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(in)
		got <- all
	}()
	for at := int64(0); at < int64(len(content)); at += 99_999 {
		f.grow(link.Grow{Bytes: at})
		f.grow(link.Grow{Bytes: at / 2}) // late
		time.Sleep(time.Millisecond)
	}
	select {
	case <-got:
		t.Fatal("the pipe ended before the file was complete")
	case <-time.After(20 * time.Millisecond):
	}
	f.grow(link.Grow{Bytes: int64(len(content)), Complete: true, SHA256: "aa"})
	if all := <-got; !bytes.Equal(all, content) {
		t.Errorf("%d bytes came of %d", len(all), len(content))
	}
	if err := <-poured; err != nil {
		t.Error(err)
	}
	if whole, err := f.whole(t.Context()); err != nil || whole.SHA256 != "aa" {
		t.Errorf("%+v, %v", whole, err)
	}
}

// The pouring ends when the reader goes, when nobody waits any more, and when the
// file has less than was announced, which is an error.
func TestFeedEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		announced int64
		do        func(fd int, cancel func())
		fails     bool
	}{
		"reader gone":       {1 << 20, func(fd int, _ func()) { unix.Close(fd) }, false},
		"cancelled, full":   {1 << 20, func(fd int, cancel func()) { cancel() }, false},
		"cancelled, hungry": {0, func(fd int, cancel func()) { cancel() }, false},
		"too short": {2 << 20, func(fd int, _ func()) {
			in := os.NewFile(uintptr(fd), "pipe")
			io.Copy(io.Discard, in)
			in.Close()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := &feed{}
			f.grow(link.Grow{Bytes: c.announced})
			fd, poured, err := f.pipe(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			c.do(fd, cancel)
			select {
			case err := <-poured:
				if (err != nil) != c.fails {
					t.Errorf("%v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it pours on")
			}
		})
	}
}

// growing feeds a session with a file as it arrives, and gives it whole at the end.
func growing(s *session, size int64, parts int, pause time.Duration) {
	for i := 1; i < parts; i++ {
		s.send(link.KindGrow, link.Grow{Bytes: size * int64(i) / int64(parts)})
		time.Sleep(pause)
	}
}

// A file that arrives slowly gives its first results before its last bytes, beats
// while it waits, and ends with the same results as one that was there.
func TestArrivingFile(t *testing.T) {
	for _, name := range []string{"video/highway_asp.avi", "video/face.mkv", "video/h264.ts"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			start := fileStart(t, name)
			info, err := os.Stat(start.Source.URL)
			if err != nil {
				t.Fatal(err)
			}
			start.Title, start.NoVideo = "a name for people", true
			start.Feed = &link.Grow{Bytes: info.Size(), Complete: true}
			want, _ := analyse(t, start)

			start.OutDir = filepath.Join(t.TempDir(), "out")
			start.Feed = &link.Grow{}
			s := begin(t, start)
			growing(s, info.Size(), 8, 30*time.Millisecond)
			if name == "video/highway_asp.avi" {
				s.until("results before the last bytes", 20*time.Second, func() bool { return s.committed.Seq > 0 })
			}
			s.until("beats while it waits", 10*time.Second, func() bool { return len(s.beats) > 2 })
			s.mu.Lock()
			early := s.done
			s.mu.Unlock()
			if early != nil {
				t.Error("it is done before the file is there")
			}
			s.send(link.KindGrow, link.Grow{Bytes: info.Size(), Complete: true, SHA256: want.Source.SHA256})
			if err := s.wait(time.Minute); err != nil || s.done == nil {
				t.Fatalf("%v, %+v", err, s.fault)
			}
			got, err := results.ReadSummary(start.OutDir)
			if err != nil {
				t.Fatal(err)
			}
			if got.Source != want.Source || got.Source.Name != "a name for people" || !got.Settings.Streamed || got.Ledger != want.Ledger {
				t.Errorf("%+v %+v, want %+v %+v", got.Source, got.Ledger, want.Source, want.Ledger)
			}
			if int64(got.Results) != int64(s.committed.Seq) {
				t.Errorf("%d results, %d of them committed", got.Results, s.committed.Seq)
			}
		})
	}
}

// A paused analysis rests, and beats; it goes on with the same results.
func TestPausedFile(t *testing.T) {
	start := fileStart(t, "video/bikes_bframes.mp4")
	want := filepath.Join(t.TempDir(), "want")
	{
		s := start
		s.OutDir = want
		analyse(t, s)
	}
	s := begin(t, start)
	s.until("frames", 20*time.Second, func() bool { n := len(s.beats); return n > 0 && s.beats[n-1].Ledger.Decoded > 0 || s.committed.Seq > 0 })
	s.send(link.KindPause, link.Pause{On: true, Reason: "a camera needs the machine"})
	s.until("the pause in its status", 5*time.Second, func() bool {
		n := len(s.status)
		return n > 0 && strings.HasPrefix(s.status[n-1].Reason, "paused: a camera")
	})
	// What is in hand is worked off; then nothing moves.
	s.until("rest", 20*time.Second, func() bool {
		n := len(s.beats)
		return n > 3 && s.beats[n-1].Ledger == s.beats[n-3].Ledger && s.beats[n-1].Ledger.Pending == 0
	})
	s.mu.Lock()
	resting, done := s.beats[len(s.beats)-1].Ledger, s.done
	s.mu.Unlock()
	if done != nil {
		t.Skip("it was done before the pause")
	}
	time.Sleep(time.Second)
	s.mu.Lock()
	after := s.beats[len(s.beats)-1].Ledger
	s.mu.Unlock()
	if after != resting {
		t.Errorf("it went on: %+v, then %+v", resting, after)
	}
	s.send(link.KindPause, link.Pause{})
	if err := s.wait(time.Minute); err != nil || s.done == nil {
		t.Fatalf("%v, %+v", err, s.fault)
	}
	same(t, "paused", complete(t, start.OutDir), complete(t, want))
}
