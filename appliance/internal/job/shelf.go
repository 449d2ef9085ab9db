package job

import (
	"path/filepath"
	"sync"

	"github.com/watchpost/watchpost/state"
)

// shelfSize is how many logbooks that nobody uses are kept, for the sake of
// their indexes: a client that reads page by page comes back soon.
const shelfSize = 32

// shelf holds the logbooks: those in use, and the last ones that were.
type shelf struct {
	mu    sync.Mutex
	books map[string]*logbook
	idle  []string // ids of books without users, the longest idle first
}

func newShelf() *shelf { return &shelf{books: map[string]*logbook{}} }

// enter returns a job's logbook, made by create where there is none, and counts
// one user more.
func (s *shelf) enter(id string, create func() *logbook) *logbook {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books[id]
	if b == nil {
		b = create()
		s.books[id] = b
	}
	if b.users == 0 {
		s.unidle(id)
	}
	b.users++
	return b
}

// leave counts one user less.
func (s *shelf) leave(b *logbook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := filepath.Base(b.dir)
	if b.users--; b.users > 0 || s.books[id] != b {
		return
	}
	s.idle = append(s.idle, id)
	if len(s.idle) > shelfSize {
		delete(s.books, s.idle[0])
		s.idle = s.idle[1:]
	}
}

func (s *shelf) unidle(id string) {
	for i, other := range s.idle {
		if other == id {
			s.idle = append(s.idle[:i:i], s.idle[i+1:]...)
			return
		}
	}
}

// peek returns a job's logbook if there is one.
func (s *shelf) peek(id string) *logbook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.books[id]
}

// remove takes a job's logbook out; its readers end with err.
func (s *shelf) remove(id string, err error) {
	s.mu.Lock()
	b := s.books[id]
	delete(s.books, id)
	s.unidle(id)
	s.mu.Unlock()
	if b != nil {
		b.fail(err)
	}
}

// book returns the logbook of a job; who gets it leaves it when done.
func (q *Jobs) book(id string) (*logbook, error) {
	if _, err := q.entry(id); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil || e.doomed {
		return nil, noJob()
	}
	return q.shelf.enter(id, func() *logbook { return bookOf(q.folder(id), e) }), nil
}

// bookOf makes the logbook of a job that no worker is at.
func bookOf(dir string, e *entry) *logbook {
	b := newLogbook(dir)
	b.ended = over(e.rec.Status) && e.run == nil
	// Without lines in the record, nobody may have seen the last attempt's end.
	if e.rec.Results > 0 || e.rec.Attempts == 0 || e.rec.Status == state.JobDone {
		b.mark.seq, b.mark.bytes, b.known = e.rec.Results, e.rec.ResultsBytes, true
	}
	return b
}

func noJob() error {
	return explain(ErrNotFound, "There is no job with this id: it was removed, or never made.")
}

// users counts those who use a logbook: readers, and workers' attempts.
func (s *shelf) users() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, b := range s.books {
		n += b.users
	}
	return n
}
