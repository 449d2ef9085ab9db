package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// uploads is a set of uploads in memory; the real ones are tested where they are.
type uploads struct {
	mu       sync.Mutex
	list     []Upload
	watchers map[int]func(UploadEvent)
	next     int
}

func newUploads(all ...Upload) *uploads {
	return &uploads{list: all, watchers: make(map[int]func(UploadEvent))}
}

func (u *uploads) List() []Upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.list)
}

func (u *uploads) Get(id string) (Upload, error) {
	for _, one := range u.List() {
		if one.ID == id {
			return one, nil
		}
	}
	return Upload{}, Explain(ErrNotFound, "There is no upload with this id.")
}

func (u *uploads) Remove(_ context.Context, id string) error {
	if _, err := u.Get(id); err != nil {
		return err
	}
	if id == "busy" {
		return Explain(ErrConflict, "A job reads this file: cancel it first.")
	}
	u.mu.Lock()
	u.list = slices.DeleteFunc(u.list, func(one Upload) bool { return one.ID == id })
	u.mu.Unlock()
	u.send(UploadEvent{Removed: id})
	return nil
}

func (u *uploads) Watch(deliver func(UploadEvent)) func() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next++
	n := u.next
	u.watchers[n] = deliver
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.watchers, n)
	}
}

func (u *uploads) send(e UploadEvent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.watchers {
		w(e)
	}
}

func (u *uploads) watching() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.watchers)
}

// echo answers with what reached it.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s %s %d %v", name, r.Method, r.URL.Path, n, err)
	})
}

func someUpload(id string, received, size int64) Upload {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	u := Upload{ID: id, Name: id + ".mp4", Received: received, Contiguous: received, Status: "receiving", Created: at, Updated: at}
	if size >= 0 {
		u.Size = &size
	}
	return u
}

func TestUploadRoutes(t *testing.T) {
	up := newUploads(someUpload("a", 0, -1), someUpload("busy", 7, 10))
	b := start(t, func(d *Deps) { d.Uploads = up })
	large := strings.Repeat("x", bodyLimit+1)
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", "/api/v1/uploads", "", 200, `{"uploads":[{"id":"a","name":"a.mp4","size":null,"received":0,"contiguous":0,"have":[],"status":"receiving"`},
		{"GET", "/api/v1/uploads/busy", "", 200, `"size":10,"received":7`},
		{"GET", "/api/v1/uploads/none", "", 404, "no upload with this id"},
		{"DELETE", "/api/v1/uploads/busy", "", 409, "cancel it first"},
		{"DELETE", "/api/v1/uploads/none", "", 404, "no upload"},
		{"DELETE", "/api/v1/uploads/a", "", 204, ""},
		{"PATCH", "/api/v1/uploads/a", "", 405, "This address takes GET, PUT, DELETE only."},
		// Files are bounded by their handlers, and by nothing before.
		{"PUT", "/api/v1/uploads/a.mp4", large, 200, fmt.Sprintf("bodies PUT /api/v1/uploads/a.mp4 %d <nil>", len(large))},
		{"PUT", "/api/v1/uploads/", large, 200, fmt.Sprintf("bodies PUT /api/v1/uploads/ %d <nil>", len(large))},
		{"POST", "/api/v1/uploads", large, 200, fmt.Sprintf("bodies POST /api/v1/uploads %d <nil>", len(large))},
		{"POST", "/api/v1/tus", large, 200, fmt.Sprintf("tus POST /api/v1/tus %d <nil>", len(large))},
		{"POST", "/api/v1/tus/", large, 200, fmt.Sprintf("tus POST /api/v1/tus/ %d <nil>", len(large))},
		{"PATCH", "/api/v1/tus/a", large, 200, fmt.Sprintf("tus PATCH /api/v1/tus/a %d <nil>", len(large))},
		{"OPTIONS", "/api/v1/tus", "", 200, "tus OPTIONS /api/v1/tus 0 <nil>"},
		{"DELETE", "/api/v1/tus/a", "", 200, "tus DELETE /api/v1/tus/a"},
		{"POST", "/api/v1/uploadsx", "", 404, "/openapi.json"},
	} {
		a := b.do(t, c.method, c.path, c.body)
		if a.StatusCode != c.status || !strings.Contains(a.body, c.has) {
			t.Errorf("%s %s: %d %.300s\nwant %d with %s", c.method, c.path, a.StatusCode, a.body, c.status, c.has)
		}
		if c.status >= 400 {
			a.detail(t)
		}
	}
	// The handlers of files are behind the guard like everything else.
	for _, path := range []string{"/api/v1/uploads/a.mp4", "/api/v1/tus/a"} {
		if a := b.do(t, "PUT", path, "x", elsewhere...); a.StatusCode != 401 {
			t.Errorf("%s from elsewhere: %d", path, a.StatusCode)
		}
		if a := b.do(t, "PUT", path, "x", "Origin", "http://evil.example"); a.StatusCode != 403 {
			t.Errorf("%s from another site's page: %d", path, a.StatusCode)
		}
	}
	if carriesFile(mustRequest(t, b.url+"/api/v1/uploads")) {
		t.Error("a GET carries no file")
	}
}

func TestUploadEvents(t *testing.T) {
	up := newUploads(someUpload("a", 0, 10), someUpload("b", 0, -1))
	b := start(t, func(d *Deps) { d.Uploads = up })
	r := b.read(t, "/api/v1/uploads/events")
	var got Upload
	for _, id := range []string{"a", "b"} {
		if r.expect("upload", &got); got.ID != id {
			t.Errorf("told of %s first, want %s", got.ID, id)
		}
	}
	for n := range int64(10) {
		u := someUpload("a", n+1, 10)
		up.send(UploadEvent{Upload: &u})
	}
	// The first may have been told before the others came; the newest always is.
	for got.Received != 10 {
		if r.expect("upload", &got); got.ID != "a" || got.Have == nil {
			t.Fatalf("told %+v", got)
		}
	}
	if a := b.do(t, "DELETE", "/api/v1/uploads/b", ""); a.StatusCode != 204 {
		t.Fatalf("remove: %d", a.StatusCode)
	}
	var gone removedUpload
	if r.expect("removed", &gone); gone.ID != "b" {
		t.Errorf("removed %q", gone.ID)
	}
	r.res.Body.Close()
	for end := time.Now().Add(5 * time.Second); up.watching() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a reader that left is still being told")
		}
	}
}

func TestUploadNews(t *testing.T) {
	n := newNews[UploadEvent](nil, uploadNews)
	for i := range 3 {
		for _, id := range []string{"a", "b"} {
			u := someUpload(id, int64(i), 10)
			n.put(UploadEvent{Upload: &u})
		}
	}
	n.put(UploadEvent{Removed: "a"})
	events, lost := n.take()
	if len(events) != 2 || events[0].Removed != "a" || events[1].Upload.Received != 2 || lost {
		t.Errorf("%+v, lost %v: want the newest of each", events, lost)
	}
	for i := range newsSize + 1 {
		n.put(UploadEvent{Removed: fmt.Sprint(i)})
	}
	if events, lost := n.take(); len(events) != newsSize || !lost {
		t.Errorf("%d events, lost %v: want the bound, and word of it", len(events), lost)
	}
}
