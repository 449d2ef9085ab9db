package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf plays the uploads and jobs of a box for the pages: states that a real
// one gets into only when something is wrong, and a tus address that fails when it
// is told to. Real files are pushed through a real box where that is put together.
type shelf struct {
	*stage
	mu      sync.Mutex
	uploads map[string]map[string]any
	jobs    map[string]map[string]any
	lines   []string
	bytes   map[string][]byte // what came over tus
	faults  []int             // what the next requests with bytes are answered; 0: a cut in their middle
	asked   []string          // methods of the requests on tus
	posted  []string          // bodies of new jobs
	change  chan struct{}     // closed and made anew when something changes
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{stage: newStage(t), uploads: map[string]map[string]any{}, jobs: map[string]map[string]any{}, bytes: map[string][]byte{}, change: make(chan struct{})}
	m := s.mux
	m.HandleFunc("GET /api/v1/uploads/events", func(w http.ResponseWriter, r *http.Request) {
		s.tell(w, r, "upload", func() map[string]map[string]any { return s.uploads })
	})
	m.HandleFunc("GET /api/v1/jobs/events", func(w http.ResponseWriter, r *http.Request) {
		s.tell(w, r, "job", func() map[string]map[string]any { return s.jobs })
	})
	m.HandleFunc("GET /api/v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) { s.one(w, s.jobs, r.PathValue("id")) })
	m.HandleFunc("DELETE /api/v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) { s.remove(w, s.jobs, r.PathValue("id")) })
	m.HandleFunc("DELETE /api/v1/uploads/{id}", func(w http.ResponseWriter, r *http.Request) { s.remove(w, s.uploads, r.PathValue("id")) })
	m.HandleFunc("GET /api/v1/jobs/{id}/results", s.results)
	m.HandleFunc("GET /api/v1/jobs/{id}/files", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"files":[{"name":"<b>.jsonl","media_type":"","bytes":5,"complete":true}]}`)
	})
	m.HandleFunc("POST /api/v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.do(func() { s.posted = append(s.posted, string(b)) })
		io.WriteString(w, "{}")
	})
	m.HandleFunc("GET /api/v1/models", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"models":[{"name":"yolox-nano","labels":[],"used_by":[]},{"name":"broken","problem":"it has no labels","labels":[],"used_by":[]}]}`)
	})
	m.HandleFunc("/api/v1/tus", s.tus)
	m.HandleFunc("/api/v1/tus/{id}", s.tus)
	return s
}

// do changes something, and has the streams tell it.
func (s *shelf) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.change)
	s.change = make(chan struct{})
}

func (s *shelf) get(read func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	read()
}

// tell sends everything of one kind whenever something changes, and what is gone.
func (s *shelf) tell(w http.ResponseWriter, r *http.Request, kind string, what func() map[string]map[string]any) {
	w.Header().Set("Content-Type", "text/event-stream")
	known := map[string]bool{}
	for {
		s.mu.Lock()
		now, change := what(), s.change
		for id := range known {
			if now[id] == nil {
				fmt.Fprintf(w, "event: removed\ndata: {\"id\":%q}\n\n", id)
				delete(known, id)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(now)) {
			known[id] = true
			b, _ := json.Marshal(now[id])
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, b)
		}
		s.mu.Unlock()
		fmt.Fprint(w, "event: alive\ndata: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-change:
		}
	}
}

func (s *shelf) one(w http.ResponseWriter, of map[string]map[string]any, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of[id] == nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"detail":"There is no job with this id."}`)
		return
	}
	_ = json.NewEncoder(w).Encode(of[id])
}

func (s *shelf) remove(w http.ResponseWriter, of map[string]map[string]any, id string) {
	s.do(func() { delete(of, id) })
	w.WriteHeader(http.StatusNoContent)
}

// results answers as the box does.
func (s *shelf) results(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	from = min(from, len(s.lines)+1)
	to := min(len(s.lines), from-1+limit)
	w.Header().Set("Watchpost-Complete", strconv.FormatBool(to == len(s.lines) && s.jobs[r.PathValue("id")]["status"] == "done"))
	io.WriteString(w, strings.Join(append(slices.Clone(s.lines[from-1:to]), ""), "\n"))
}

func id26(kind string, n int) string { return fmt.Sprintf("%s%025d", kind, n) }

// tus is as much of the protocol as the page speaks.
func (s *shelf) tus(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s.get(func() { s.asked = append(s.asked, r.Method) })
	if r.Header.Get("Tus-Resumable") != "1.0.0" {
		http.Error(w, "ERR_VERSION: no Tus-Resumable", http.StatusPreconditionFailed)
		return
	}
	switch r.Method {
	case http.MethodPost:
		s.do(func() {
			id = id26("u", len(s.bytes)+1)
			s.bytes[id] = []byte{}
			size, _ := strconv.Atoi(r.Header.Get("Upload-Length"))
			words := map[string]string{}
			for pair := range strings.SplitSeq(r.Header.Get("Upload-Metadata"), ",") {
				name, coded, _ := strings.Cut(pair, " ")
				value, _ := base64.StdEncoding.DecodeString(coded)
				words[name] = string(value)
			}
			s.uploads[id] = upload(id, words["filename"], "receiving", map[string]any{"size": size, "words": words})
		})
		w.Header().Set("Location", "/api/v1/tus/"+id)
		w.WriteHeader(http.StatusCreated)
	case http.MethodHead:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.uploads[id] == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Upload-Offset", strconv.Itoa(len(s.bytes[id])))
	case http.MethodPatch:
		s.patch(w, r, id)
	}
}

func (s *shelf) patch(w http.ResponseWriter, r *http.Request, id string) {
	fault := -1
	s.get(func() {
		if len(s.faults) > 0 {
			fault, s.faults = s.faults[0], s.faults[1:]
		}
	})
	if fault > 0 {
		http.Error(w, "ERR_TEST: The box said "+strconv.Itoa(fault)+".", fault)
		return
	}
	body, take := r.Body, r.ContentLength
	if fault == 0 {
		take /= 2
	}
	b, _ := io.ReadAll(io.LimitReader(body, take))
	s.do(func() {
		if at, _ := strconv.Atoi(r.Header.Get("Upload-Offset")); at != len(s.bytes[id]) {
			fault = 409
			return
		}
		s.bytes[id] = append(s.bytes[id], b...)
		u := maps.Clone(s.uploads[id])
		u["received"] = len(s.bytes[id])
		if len(s.bytes[id]) == u["size"] {
			u["status"] = "complete"
		}
		s.uploads[id] = u
		w.Header().Set("Upload-Offset", strconv.Itoa(len(s.bytes[id])))
	})
	switch fault {
	case 0:
		panic(http.ErrAbortHandler)
	case 409:
		http.Error(w, "ERR_MISMATCHED_OFFSET: not here", fault)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func upload(id, name, status string, more map[string]any) map[string]any {
	u := map[string]any{"id": id, "name": name, "size": 1000, "received": 430, "contiguous": 430, "have": [][2]int{}, "status": status,
		"created": time.Now(), "updated": time.Now(), "rate_bytes_per_s": 0, "jobs": []string{}}
	maps.Copy(u, more)
	return u
}

func job(id, upload, name, status, reason string, more map[string]any) map[string]any {
	j := map[string]any{"id": id, "upload": upload, "name": name, "status": status, "reason": reason, "priority": 0, "settings": map[string]any{},
		"progress": map[string]any{"frames": 0, "position_s": 0, "duration_s": nil, "fps": 0, "percent": nil}, "results": 0, "created": time.Now()}
	maps.Copy(j, more)
	return j
}
