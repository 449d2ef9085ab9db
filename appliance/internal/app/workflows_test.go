package app

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/session/workflow"
	"github.com/watchpost/watchpost/state"
)

// What the store says reaches the API with its kind and its words.
func TestWorkflowsOfTheAPI(t *testing.T) {
	db, _, err := state.Open(state.Options{Path: filepath.Join(t.TempDir(), "watchpost.db")})
	if err != nil {
		t.Fatal(err)
	}
	store, err := workflow.NewStore(db, func() []workflow.Model { return []workflow.Model{{Name: "motion"}} })
	if err != nil {
		t.Fatal(err)
	}
	w := workflows{store}
	spec := func(model string) json.RawMessage {
		return json.RawMessage(`{"inputs":[{"type":"WorkflowImage","name":"image"}],
		  "steps":[{"type":"roboflow_core/roboflow_object_detection_model@v1","name":"d","images":"$inputs.image","model_id":"` + model + `","max_candidates":3000}],
		  "outputs":[{"type":"JsonField","name":"found","selector":"$steps.d.predictions"}]}`)
	}
	one, created, err := w.Put("yard", "moves", spec("motion"))
	if err != nil || !created || len(one.Notes) != 1 || one.Bytes != len(one.Specification) {
		t.Fatalf("%+v %v %v", one, created, err)
	}
	if got, err := w.Get("yard", "moves"); err != nil || string(got.Specification) != string(one.Specification) || !got.Updated.Equal(one.Updated) {
		t.Errorf("%+v %v", got, err)
	}
	if all, err := w.List(); err != nil || len(all) != 1 || all[0].Specification != nil || all[0].Bytes != one.Bytes {
		t.Errorf("%+v %v", all, err)
	}
	_, _, refused := w.Put("yard", "cars", spec("coco/9"))
	_, _, odd := w.Put("yard", "a b", spec("motion"))
	_, missing := w.Get("yard", "cars")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err, kind error
		words     string
	}{
		{refused, api.ErrInvalid, "workflow_specification.steps[0].model_id"},
		{odd, api.ErrInvalid, "letters and digits"},
		{missing, api.ErrNotFound, "yard/cars"},
		{w.Remove("yard", "cars"), state.ErrClosed, ""},
	} {
		if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("%v, want %v with %q", c.err, c.kind, c.words)
		}
	}
}
