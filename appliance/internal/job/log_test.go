package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// textLine is line n of a log as workers write it, of a length of its own.
func textLine(n uint64) string {
	return fmt.Sprintf(`{"seq":%d,"frame":%d,"objects":[%s]}`+"\n", n, n, strings.Repeat("0,", int(n*7919%97))+"0")
}

// logOf writes a log of n lines and returns its folder, and where each line ends.
func logOf(t testing.TB, n uint64) (dir string, ends []int64) {
	t.Helper()
	dir = t.TempDir()
	var b bytes.Buffer
	ends = append(ends, 0)
	for i := range n {
		b.WriteString(textLine(i + 1))
		ends = append(ends, int64(b.Len()))
	}
	if err := os.WriteFile(filepath.Join(dir, detectionsName+partSuffix), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, ends
}

func readerOf(b *logbook, from uint64) *Reader {
	s := newShelf()
	s.enter(filepath.Base(b.dir), func() *logbook { return b })
	return &Reader{book: b, shelf: s, next: from, offset: -1}
}

// drain reads all that there is and checks each line.
func drain(t *testing.T, r *Reader) (last uint64, end error) {
	t.Helper()
	last = r.next - 1
	for {
		l, ok, err := r.Next(t.Context())
		if err != nil || !ok {
			return last, err
		}
		if l.Seq != last+1 || string(l.Data)+"\n" != textLine(l.Seq) {
			t.Fatalf("after line %d came %d: %s", last, l.Seq, l.Data)
		}
		last = l.Seq
	}
}

// Nothing beyond the mark is read, from wherever one begins.
func TestReaderStaysWithinTheMark(t *testing.T) {
	const lines = 5000
	dir, ends := logOf(t, lines)
	b := newLogbook(dir)
	b.commit(0, 0)
	for _, n := range []uint64{0, 1, 17, 700, 701, 4999, 5000} {
		b.commit(n, ends[n])
		for _, from := range []uint64{1, 2, n / 2, n, n + 1, n + 5} {
			r := readerOf(b, max(from, 1))
			last, err := drain(t, r)
			if want := max(n, max(from, 1)-1); err != nil || last != want {
				t.Errorf("of %d lines from %d: up to %d, %v; want %d", n, from, last, err, want)
			}
			if r.block != nil {
				t.Error("a reader at the end keeps its block")
			}
		}
	}
	b.end()
	if last, err := drain(t, readerOf(b, 4000)); last != lines || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", last, err)
	}
	b.fail(noJob())
	if _, err := drain(t, readerOf(b, 1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a removed job: %v", err)
	}
}

// The mark of a log whose worker was killed is counted: whole lines in a row.
func TestMarkIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		tail string
		want uint64
	}{
		"whole": {"", 3000}, "torn": {`{"seq":3001,"fra`, 3000}, "zeros": {"\x00\x00\x00\n\x00", 3000},
		"jump": {textLine(3002), 3000}, "again": {textLine(3000), 3000}, "more": {textLine(3001) + "{", 3001}, "no number": {"{}\n", 3000},
	} {
		dir, ends := logOf(t, 3000)
		path := filepath.Join(dir, detectionsName+partSuffix)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, c.tail)
		f.Close()
		b := newLogbook(dir)
		last, err := drain(t, readerOf(b, 1))
		if err != nil || last != c.want {
			t.Errorf("%s: %d lines, %v; want %d", name, last, err, c.want)
		}
		if got := settled(dir); name == "whole" && got != ends[3000] || got < ends[3000] {
			t.Errorf("%s: %d bytes of whole lines, want %d", name, got, ends[3000])
		}
	}
	b := newLogbook(t.TempDir())
	if last, err := drain(t, readerOf(b, 1)); last != 0 || err != nil || settled(b.dir) != 0 {
		t.Errorf("without a file: %d, %v", last, err)
	}
}

// A long line is read whole, and one without an end is not read for ever.
func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	long := `{"seq":2,"objects":[` + strings.Repeat("1,", 1<<20) + `1]}` + "\n"
	text := textLine(1) + long + textLine(3)
	if err := os.WriteFile(filepath.Join(dir, detectionsName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := readerOf(newLogbook(dir), 1)
	var got string
	for {
		l, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got += string(l.Data) + "\n"
	}
	if got != text {
		t.Errorf("read %d bytes of %d", len(got), len(text))
	}
	if err := os.WriteFile(filepath.Join(dir, detectionsName), append([]byte(textLine(1)), make([]byte, 2*maxLine)...), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newLogbook(dir)
	if last, err := drain(t, readerOf(b, 1)); last != 1 || err != nil {
		t.Errorf("before a line without end: %d, %v", last, err)
	}
	b.commit(2, int64(len(textLine(1)))+2*maxLine)
	if _, err := drain(t, readerOf(b, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a line without end: %v", err)
	}
}

// What is not what was committed is told, not passed on.
func TestDamagedLog(t *testing.T) {
	dir, ends := logOf(t, 100)
	path := filepath.Join(dir, detectionsName+partSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"short":   func(b []byte) []byte { return b[:ends[50]] },
		"empty":   func([]byte) []byte { return nil },
		"flipped": func(b []byte) []byte { b[ends[50]+8] ^= 1; return b },
		"zeroed":  func(b []byte) []byte { clear(b[ends[40]:ends[60]]); return b },
		"missing": func(b []byte) []byte { return append(b[:ends[50]:ends[50]], b[ends[51]:]...) },
	} {
		if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newLogbook(dir)
		b.commit(100, ends[100])
		last, err := drain(t, readerOf(b, 1))
		if !errors.Is(err, ErrDamaged) || last > 51 || strings.Contains(fmt.Sprint(err), dir) {
			t.Errorf("%s: %d lines, %v", name, last, err)
		}
	}
	os.Remove(path)
	b := newLogbook(dir)
	b.commit(100, ends[100])
	if _, err := drain(t, readerOf(b, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("gone: %v", err)
	}
	// A worker that plants a link or a pipe in the place of its log gains nothing.
	if err := os.Symlink("/etc/hostname", path); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(dir); err == nil {
		t.Error("a link was followed")
	}
}

func TestIndexIsBounded(t *testing.T) {
	var x index
	const lines = 1 << 20
	for n := uint64(1); n <= lines; n += 3 {
		x.note(n, int64(n)*10)
	}
	if len(x.places) >= maxIndex || len(x.places) < maxIndex/4 {
		t.Errorf("%d places", len(x.places))
	}
	for range 1000 {
		n := 1 + rand.Uint64N(lines)
		p := x.find(n)
		if p.seq > n || n-p.seq > 3*x.apart || p.seq > 1 && p.offset != int64(p.seq)*10 {
			t.Fatalf("line %d is looked for from %+v, places are %d apart", n, p, x.apart)
		}
	}
	// In whatever order they come.
	x = index{}
	for _, n := range rand.Perm(5000) {
		x.note(uint64(n+1), int64(n)+1)
	}
	for i, p := range x.places {
		if p.offset != int64(p.seq) || i > 0 && p.seq-x.places[i-1].seq < x.apart {
			t.Fatalf("place %d is %+v", i, p)
		}
	}
}

// Many readers that break off and come back, while the log grows in groups, is
// torn, and is gone on with: each gets every line once.
func TestReadersWhileTheLogGrows(t *testing.T) {
	const lines, readers = 20000, 24
	dir := t.TempDir()
	path := filepath.Join(dir, detectionsName+partSuffix)
	b := newLogbook(dir)
	shelf := newShelf()
	var all sync.WaitGroup
	defer all.Wait()
	for i := range readers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			next := uint64(1)
			for {
				shelf.enter(filepath.Base(dir), func() *logbook { return b })
				r := &Reader{book: b, shelf: shelf, next: next, offset: -1}
				budget := 1 + rnd.IntN(2000)
				for budget > 0 {
					l, ok, err := r.Next(context.Background())
					if errors.Is(err, io.EOF) {
						if r.Close(); next != lines+1 {
							t.Errorf("reader %d ended before line %d", i, next)
						}
						return
					}
					if err != nil {
						t.Errorf("reader %d: %v", i, err)
						return
					}
					if !ok {
						r.Wait(context.Background())
						continue
					}
					if l.Seq != next || string(l.Data)+"\n" != textLine(next) {
						t.Errorf("reader %d: line %d in the place of %d", i, l.Seq, next)
						return
					}
					next++
					budget--
				}
				r.Close() // it comes back
			}
		})
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	var seq uint64
	var size int64
	b.commit(0, 0)
	for seq < lines {
		// A worker: whole lines, and then perhaps a torn one, which the next cuts off.
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Truncate(size)
		f.Seek(size, io.SeekStart)
		for range rnd.IntN(20) {
			for range rnd.IntN(64) {
				if seq < lines {
					seq++
					n, _ := f.WriteString(textLine(seq))
					size += int64(n)
				}
			}
			b.commit(seq, size)
			if rnd.IntN(8) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		f.WriteString(textLine(seq + 1)[:5])
		f.Close()
	}
	if err := os.Rename(path, filepath.Join(dir, detectionsName)); err != nil {
		t.Fatal(err)
	}
	b.end()
	all.Wait()
	if n := shelf.users(); n != 0 {
		t.Errorf("%d users are left", n)
	}
}

// The shelf keeps the books in use and a few of those that were.
func TestShelf(t *testing.T) {
	s := newShelf()
	made := 0
	enter := func(id string) *logbook {
		return s.enter(id, func() *logbook { made++; return newLogbook("/x/" + id) })
	}
	held := enter("held")
	for i := range 3 * shelfSize {
		s.leave(enter(fmt.Sprint(i)))
	}
	if len(s.books) != shelfSize+1 || enter("held") != held {
		t.Errorf("%d books", len(s.books))
	}
	s.leave(held)
	s.leave(held)
	before := made
	enter(fmt.Sprint(3*shelfSize - 1))
	if enter("held") != held || made != before {
		t.Error("a book that was used just now is gone")
	}
	if enter("0"); made != before+1 {
		t.Error("a book that was used long ago is still there")
	}
	s.remove("held", noJob())
	if _, err := held.look(); !errors.Is(err, ErrNotFound) {
		t.Error("readers of a removed job are not told")
	}
	s.leave(held)
	if s.peek("held") != nil {
		t.Error("a removed book came back")
	}
}

// Whatever the file holds and wherever a reader begins, it ends with lines in a
// row or with an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte(textLine(1)+textLine(2)), uint64(1), uint64(2), int64(40))
	f.Add([]byte(`{"seq":1}`+"\n"+`{"seq":18446744073709551616}`+"\n"), uint64(0), uint64(9), int64(99))
	f.Add([]byte("\n\n\n"), uint64(1<<63), uint64(1<<63+1), int64(3))
	f.Add([]byte(`{"seq":-1,`+"\n"), uint64(1), uint64(1), int64(-5))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, from, seq uint64, size int64) {
		if err := os.WriteFile(filepath.Join(dir, detectionsName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, said := range []bool{false, true} {
			b := newLogbook(dir)
			if said {
				b.commit(seq, max(size, 0))
			}
			b.end()
			r := readerOf(b, max(from, 1))
			next, given := max(from, 1), 0
			for {
				l, ok, err := r.Next(t.Context())
				if err != nil {
					break
				}
				if !ok || l.Seq != next || bytes.IndexByte(l.Data, '\n') >= 0 || seqOf(l.Data) != next {
					t.Fatalf("line %d, want %d: %q, %v", l.Seq, next, l.Data, ok)
				}
				next++
				if given += len(l.Data) + 1; given > len(text) {
					t.Fatal("more lines than the file has")
				}
			}
			r.Close()
		}
	})
}
