package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/state"
)

func openStore(t *testing.T, path string) (*Store, *state.DB) {
	t.Helper()
	db, _, err := state.Open(state.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(db, installed)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func TestStoreKeepsWorkflows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchpost.db")
	s, db := openStore(t, path)
	w, created, notes, err := s.Put("yard", "count-cars", json.RawMessage(whole))
	if err != nil || !created || len(notes) != 3 {
		t.Fatalf("%v %q %v", created, notes, err)
	}
	again, created, _, err := s.Put("yard", "count-cars", json.RawMessage(whole))
	if err != nil || created || !again.Created.Equal(w.Created) || !again.Updated.After(w.Updated.Add(-time.Second)) {
		t.Fatalf("put again: %+v %v %v", again, created, err)
	}
	if _, _, _, err := s.Put("attic", "frames", spec("", out("f", "$inputs.image"))); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s, db = openStore(t, path)
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].Workspace != "attic" || all[1].ID != "count-cars" {
		t.Fatalf("%+v %v", all, err)
	}
	// The parameters are the session's.
	g, err := s.Compile(Request{Parameters: map[string]json.RawMessage{"confidence": json.RawMessage("0.9")}}, "yard", "count-cars")
	if err != nil || g.Model != "yolox-nano" || g.Threshold != 0.9 || len(g.Outputs) != 4 {
		t.Fatalf("%+v %v", g, err)
	}
	var r *Refusal
	if _, err := s.Compile(Request{}, "yard", "count-boats"); !errors.As(err, &r) || r.Field != "workflow_configuration.workflow_id" || !slices.Contains(r.Available, "yard/count-cars") {
		t.Errorf("%v", err)
	}
	t.Log(r)
	if _, err := s.Compile(Request{}, "../yard", ""); !errors.As(err, &r) {
		t.Errorf("%v", err)
	}
	if err := s.Remove("yard", "count-cars"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Remove("yard", "count-cars"), func() error { _, err := s.Get("yard", "count-cars"); return err }()} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%v, want ErrUnknown", err)
		}
	}
}

func TestStoreTakesOnlyWhatCanRun(t *testing.T) {
	s, db := openStore(t, filepath.Join(t.TempDir(), "watchpost.db"))
	defer db.Close()
	found := out("f", "$steps.d.predictions")
	for name, c := range map[string]struct {
		spec  json.RawMessage
		field string // of the refusal; "" : it is taken
	}{
		"a model still unknown":   {spec(strings.Replace(detect, "yolox-nano", "$inputs.p", 1), found), ""},
		"classes of one unknown":  {spec(with(strings.Replace(detect, "yolox-nano", "$inputs.p", 1), `"class_filter":["boat"]`), found), ""},
		"a value still unknown":   {spec(with(detect, `"confidence":"$inputs.p"`), found), ""},
		"an unknown model":        {spec(strings.Replace(detect, "yolox-nano", "coco/9", 1), found), ".steps[0].model_id"},
		"an unknown step":         {spec(`{"type":"x","name":"y"}`, found), ".steps[0].type"},
		"no image input":          {json.RawMessage(`{"inputs":[],"outputs":[` + out("f", "$inputs.image") + `]}`), ".inputs"},
		"a default out of range":  {json.RawMessage(strings.Replace(whole, "0.5}", "5}", 1)), ".steps[3].confidence"},
		"nothing":                 {nil, ""},
		"what is not JSON at all": {json.RawMessage("{]"), ""},
	} {
		_, _, _, err := s.Put("w", "w", c.spec)
		var r *Refusal
		bad := name == "nothing" || name == "what is not JSON at all"
		if c.field == "" && !bad {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.As(err, &r) || r.Field != storeRoot+c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was taken with its model open is checked when a session names it.
	if _, _, _, err := s.Put("w", "open", spec(strings.Replace(detect, "yolox-nano", "$inputs.p", 1), found)); err != nil {
		t.Fatal(err)
	}
	var r *Refusal
	_, err := s.Compile(Request{Parameters: map[string]json.RawMessage{"p": json.RawMessage(`"coco/9"`)}}, "w", "open")
	if !errors.As(err, &r) || r.Field != parametersPath+".p" || !slices.Contains(r.Available, "motion") {
		t.Errorf("%v", err)
	}
	if g, err := s.Compile(Request{Parameters: map[string]json.RawMessage{"p": json.RawMessage(`"motion"`)}}, "w", "open"); err != nil || g.Model != "motion" {
		t.Errorf("%+v %v", g, err)
	}
}

func TestStoreNamesAndBounds(t *testing.T) {
	s, db := openStore(t, filepath.Join(t.TempDir(), "watchpost.db"))
	defer db.Close()
	frame := spec("", out("f", "$inputs.image"))
	for _, name := range []string{"", ".", "..", "a/b", "a b", "é", "-a", strings.Repeat("a", 101), "a\x00"} {
		if _, _, _, err := s.Put(name, "x", frame); !errors.Is(err, ErrName) {
			t.Errorf("workspace %q: %v", name, err)
		}
		if _, _, _, err := s.Put("x", name, frame); !errors.Is(err, ErrName) {
			t.Errorf("id %q: %v", name, err)
		}
	}
	long := strings.Repeat("A9.", 33) + "z"
	if _, _, _, err := s.Put(long, long, frame); err != nil {
		t.Errorf("the longest name: %v", err)
	}
	all := map[string]state.Workflow{}
	for i := range MaxStored - 1 {
		id := fmt.Sprintf("w%03d", i)
		all["many/"+id] = state.Workflow{Workspace: "many", ID: id, Specification: frame}
	}
	if err := db.Workflows().PutAll(all); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Put("one", "more", frame); !errors.Is(err, ErrFull) {
		t.Errorf("one more than the most: %v", err)
	}
	if _, created, _, err := s.Put(long, long, frame); err != nil || created {
		t.Errorf("in the place of another: %v %v", created, err)
	}
}
