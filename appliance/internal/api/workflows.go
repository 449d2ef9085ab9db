package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Workflows is what the routes need of the workflows that are kept by name. All of
// it may be called from many goroutines, and may wait for the disk.
type Workflows interface {
	// List returns all without their specifications, ordered by name.
	List() ([]Workflow, error)
	// Get returns one. Unknown name: ErrNotFound.
	Get(workspace, id string) (Workflow, error)
	// Put keeps a specification under a name; created: there was none. What the
	// box cannot run, and a name that cannot be: ErrInvalid. More than are kept:
	// ErrConflict.
	Put(workspace, id string, specification json.RawMessage) (w Workflow, created bool, err error)
	// Remove forgets one. Unknown name: ErrNotFound.
	Remove(workspace, id string) error
}

// Workflow is one that is kept by name.
type Workflow struct {
	Workspace string    `json:"workspace" example:"yard"`
	ID        string    `json:"id" example:"count-cars"`
	Bytes     int       `json:"bytes" doc:"Of its specification"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	// Specification is left out of lists.
	Specification json.RawMessage `json:"specification,omitempty" doc:"The workflow_specification; left out of lists"`
	Notes         []string        `json:"notes,omitempty" nullable:"false" doc:"What of it has no effect on this box; in the answer to PUT"`
}

// workflowsPath is where they are, and workflowLimit the most that a request may
// carry there.
const (
	workflowsPath = "/api/v1/workflows"
	workflowLimit = 1 << 20
)

// carriesWorkflow tells whether r's body may be a workflow.
func carriesWorkflow(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, workflowsPath+"/")
}

type workflowList struct {
	Workflows []Workflow `json:"workflows" nullable:"false"`
}

type workflowName struct {
	Workspace string `path:"workspace" maxLength:"100" doc:"The workspace's name, workspace_name of a session's request" example:"yard"`
	ID        string `path:"id" maxLength:"100" doc:"The workflow's name, workflow_id of a session's request" example:"count-cars"`
}

type workflowPut struct {
	// Not embedded: huma leaves unexported embedded fields out.
	Workspace string `path:"workspace" maxLength:"100" doc:"The workspace's name, workspace_name of a session's request" example:"yard"`
	ID        string `path:"id" maxLength:"100" doc:"The workflow's name, workflow_id of a session's request" example:"count-cars"`
	RawBody   []byte `contentType:"application/json"`
}

type workflowAnswer struct {
	Status int
	Body   Workflow
}

func (t *routes) registerWorkflows(api huma.API) {
	const tag = "Workflows"
	const one = workflowsPath + "/{workspace}/{id}"
	huma.Register(api, operation("list-workflows", http.MethodGet, workflowsPath, "All workflows that are kept on the box", tag), t.listWorkflows)
	huma.Register(api, operation("get-workflow", http.MethodGet, one, "One workflow", tag, 404), t.getWorkflow)

	put := operation("put-workflow", http.MethodPut, one, "Keep a workflow under a name", tag, 400, 409, 413)
	put.Description = "The body is the workflow_specification itself: an object with version, inputs, steps and outputs. It is kept only if the box can run it; " +
		"the detail of a 400 says which field it is that it cannot, and what there is instead. A session asks for it by workspace_name and workflow_id."
	put.MaxBodyBytes = workflowLimit
	put.SkipValidateBody = true // who compiles it says more of what is wrong
	put.Responses = map[string]*huma.Response{"201": {Description: "It is kept; there was none of this name before"}}
	huma.Register(api, put, t.putWorkflow)
	document := api.OpenAPI().Paths[one].Put
	document.Responses["201"].Content = document.Responses["200"].Content
	document.RequestBody.Required = true
	document.RequestBody.Content["application/json"].Schema = &huma.Schema{Type: huma.TypeObject}

	remove := operation("remove-workflow", http.MethodDelete, one, "Forget a workflow; sessions that run it go on", tag, 404)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, t.removeWorkflow)
}

func (t *routes) listWorkflows(context.Context, *struct{}) (*body[workflowList], error) {
	all, err := t.d.Workflows.List()
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[workflowList]{workflowList{list(all)}}, nil
}

func (t *routes) getWorkflow(_ context.Context, in *workflowName) (*body[Workflow], error) {
	w, err := t.d.Workflows.Get(in.Workspace, in.ID)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[Workflow]{w}, nil
}

func (t *routes) putWorkflow(_ context.Context, in *workflowPut) (*workflowAnswer, error) {
	w, created, err := t.d.Workflows.Put(in.Workspace, in.ID, in.RawBody)
	if err != nil {
		return nil, t.p.of(err)
	}
	if created {
		return &workflowAnswer{http.StatusCreated, w}, nil
	}
	return &workflowAnswer{http.StatusOK, w}, nil
}

func (t *routes) removeWorkflow(_ context.Context, in *workflowName) (*struct{}, error) {
	if err := t.d.Workflows.Remove(in.Workspace, in.ID); err != nil {
		return nil, t.p.of(err)
	}
	return nil, nil
}
