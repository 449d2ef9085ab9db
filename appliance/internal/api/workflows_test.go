package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// workflows are kept in memory: what can be kept is the business of others.
type workflows struct {
	mu  sync.Mutex
	all map[string]Workflow
}

func newWorkflows() *workflows { return &workflows{all: map[string]Workflow{}} }

func (w *workflows) List() ([]Workflow, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Workflow
	for _, one := range w.all {
		one.Specification = nil
		out = append(out, one)
	}
	return out, nil
}

func (w *workflows) Get(workspace, id string) (Workflow, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := w.all[workspace+"/"+id]
	if !ok {
		return one, Explain(ErrNotFound, workspace+"/"+id+" is not kept on this box")
	}
	return one, nil
}

func (w *workflows) Put(workspace, id string, specification json.RawMessage) (Workflow, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !json.Valid(specification) {
		return Workflow{}, false, Explain(ErrInvalid, "steps[2].type: not one of a box")
	}
	if id == "full" {
		return Workflow{}, false, Explain(ErrConflict, "the box keeps 256 at most")
	}
	_, there := w.all[workspace+"/"+id]
	one := Workflow{Workspace: workspace, ID: id, Bytes: len(specification), Specification: bytes.Clone(specification)}
	w.all[workspace+"/"+id] = one
	one.Notes = []string{"a note"}
	return one, !there, nil
}

func (w *workflows) Remove(workspace, id string) error {
	if _, err := w.Get(workspace, id); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, workspace+"/"+id)
	return nil
}

func TestWorkflowRoutes(t *testing.T) {
	b := start(t, nil)
	const at = "/api/v1/workflows/yard/count-cars"
	large := `{"steps":"` + strings.Repeat("x", workflowLimit-100) + `"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/v1/workflows", "", 200, `{"workflows":[]}`},
		{"GET", at, "", 404, "yard/count-cars is not kept"},
		{"DELETE", at, "", 404, "yard/count-cars is not kept"},
		{"PUT", at, `{"steps":`, 400, "steps[2].type"},
		{"PUT", at, `{"version":"1.0"}`, 201, `"specification":{"version":"1.0"},"notes":["a note"]`},
		{"PUT", at, `{"version":"1.1"}`, 200, `"version":"1.1"`},
		{"PUT", "/api/v1/workflows/yard/full", `{}`, 409, "256"},
		{"GET", at, "", 200, `"version":"1.1"`},
		{"GET", "/api/v1/workflows", "", 200, `"id":"count-cars"`},
		{"PUT", at, large, 200, "xxx"},
		{"PUT", at, large + strings.Repeat(" ", 200), 413, "limit"},
		{"PUT", "/api/v1/workflows/yard/" + strings.Repeat("n", 101), `{}`, 422, "id"},
		{"PUT", "/api/v1/workflows/yard", `{}`, 404, "openapi"},
		{"POST", at, `{}`, 405, "GET, PUT, DELETE"},
		{"DELETE", at, "", 204, ""},
		{"GET", "/api/v1/workflows", "", 200, `{"workflows":[]}`},
	} {
		a := b.do(t, c.method, c.path, c.body)
		if a.StatusCode != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %.60s: %d %.300s, want %d with %s", c.method, c.path, a.StatusCode, a.body, c.status, c.want)
		}
		if c.path == "/api/v1/workflows" && strings.Contains(a.body, "specification") {
			t.Error("a list has specifications")
		}
	}
}

// Nobody who is not let in gets to say what a box runs.
func TestWorkflowsAreGuarded(t *testing.T) {
	b := start(t, func(d *Deps) { d.AlwaysAsk = true })
	if a := b.do(t, http.MethodPut, "/api/v1/workflows/a/b", "{}"); a.StatusCode != 401 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
