package app

import (
	"encoding/json"
	"errors"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/state"
)

// workflows are those that are kept by name, as the API sees them.
type workflows struct{ all *workflow.Store }

// List implements api.Workflows.
func (w workflows) List() ([]api.Workflow, error) {
	all, err := w.all.List()
	out := make([]api.Workflow, len(all))
	for i, l := range all {
		out[i] = api.Workflow{Workspace: l.Workspace, ID: l.ID, Bytes: l.Bytes, Created: l.Created, Updated: l.Updated}
	}
	return out, workflowError(err)
}

// Get implements api.Workflows.
func (w workflows) Get(workspace, id string) (api.Workflow, error) {
	one, err := w.all.Get(workspace, id)
	return workflowView(one), workflowError(err)
}

// Put implements api.Workflows.
func (w workflows) Put(workspace, id string, specification json.RawMessage) (api.Workflow, bool, error) {
	one, created, notes, err := w.all.Put(workspace, id, specification)
	v := workflowView(one)
	v.Notes = notes
	return v, created, workflowError(err)
}

// Remove implements api.Workflows.
func (w workflows) Remove(workspace, id string) error {
	return workflowError(w.all.Remove(workspace, id))
}

func workflowView(w state.Workflow) api.Workflow {
	return api.Workflow{
		Workspace: w.Workspace, ID: w.ID, Bytes: len(w.Specification),
		Created: w.Created, Updated: w.Updated, Specification: w.Specification,
	}
}

// workflowError says the kind of err in the API's words; its text is for the user already.
func workflowError(err error) error {
	var refusal *workflow.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal), errors.Is(err, workflow.ErrName):
		return api.Explain(api.ErrInvalid, err.Error())
	case errors.Is(err, workflow.ErrUnknown):
		return api.Explain(api.ErrNotFound, err.Error())
	case errors.Is(err, workflow.ErrFull):
		return api.Explain(api.ErrConflict, err.Error())
	case errors.Is(err, state.ErrUnavailable):
		return api.Explain(api.ErrUnavailable, err.Error())
	}
	return err
}
