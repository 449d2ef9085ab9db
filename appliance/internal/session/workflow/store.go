package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/watchpost/watchpost/state"
)

// The errors of Store beside *Refusal and those of state; each is wrapped by one
// that says what to do.
var (
	// ErrUnknown: no workflow has this name.
	ErrUnknown = errors.New("no such workflow")
	// ErrName: a name is not one that workflows can have.
	ErrName = errors.New("not a workflow's name")
	// ErrFull: as many workflows are kept as may be.
	ErrFull = errors.New("too many workflows")
)

// MaxStored is how many workflows are kept.
const MaxStored = 256

// storeRoot is where a stored workflow's fields are, in refusals.
const storeRoot = "workflow_specification"

// Store keeps workflows by name. What it holds could be compiled when it was put
// there, whatever the parameters will be. Its methods may be called from many
// goroutines, and wait for the disk.
type Store struct {
	db     *state.DB
	models Models
}

// NewStore keeps workflows in db.
func NewStore(db *state.DB, models Models) (*Store, error) {
	if db == nil || models == nil {
		return nil, errors.New("workflow: a store needs a database and the installed models")
	}
	return &Store{db, models}, nil
}

// Listed is a workflow without its specification.
type Listed struct {
	Workspace, ID    string
	Bytes            int // of its specification
	Created, Updated time.Time
}

// List returns all workflows, ordered by workspace and id.
func (s *Store) List() ([]Listed, error) {
	var all []Listed
	err := s.db.Workflows().Each(func(w state.Workflow) error {
		all = append(all, Listed{w.Workspace, w.ID, len(w.Specification), w.Created, w.Updated})
		return nil
	})
	return all, err
}

// Get returns one. ErrUnknown: there is none of this name.
func (s *Store) Get(workspace, id string) (state.Workflow, error) {
	key, err := keyOf(workspace, id)
	if err != nil {
		return state.Workflow{}, err
	}
	w, ok, err := s.db.Workflows().Get(key)
	if err == nil && !ok {
		err = unknown(workspace, id)
	}
	return w, err
}

// Put keeps a specification under a name, in the place of the one that had it;
// created tells whether there was none. notes say what of it has no effect on this
// box. A *Refusal: it is not one that a box can run. ErrName, ErrFull.
func (s *Store) Put(workspace, id string, specification json.RawMessage) (w state.Workflow, created bool, notes []string, err error) {
	key, err := keyOf(workspace, id)
	if err != nil {
		return w, false, nil, err
	}
	g, err := check(specification, s.models, storeRoot)
	if err != nil {
		return w, false, nil, err
	}
	var dense bytes.Buffer
	if err := json.Compact(&dense, specification); err != nil {
		return w, false, nil, refuse(storeRoot, "it is not JSON: %v", err)
	}
	now := time.Now().UTC()
	w = state.Workflow{Workspace: workspace, ID: id, Specification: dense.Bytes(), Created: now, Updated: now}
	err = s.db.Update(func(tx state.Tx) error {
		old, ok, err := tx.Workflows().Get(key)
		var bad *state.RecordError
		if err != nil && !errors.As(err, &bad) { // one that cannot be read is replaced
			return err
		}
		if created = !ok; ok {
			w.Created = old.Created
		} else if all, err := tx.Workflows().Keys(); err != nil {
			return err
		} else if len(all) >= MaxStored {
			return fmt.Errorf("%w: the box keeps %d at most, so remove one first", ErrFull, MaxStored)
		}
		return tx.Workflows().Put(key, w)
	})
	return w, created, g.Notes, err
}

// Remove forgets a workflow; sessions that run it go on. ErrUnknown: there is none
// of this name.
func (s *Store) Remove(workspace, id string) error {
	key, err := keyOf(workspace, id)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx state.Tx) error {
		_, ok, err := tx.Workflows().Get(key)
		var bad *state.RecordError
		switch {
		case err != nil && !errors.As(err, &bad):
			return err
		case err == nil && !ok:
			return unknown(workspace, id)
		}
		return tx.Workflows().Delete(key)
	})
}

// Compile makes the graph of a workflow that is kept under a name; r's own
// specification is not looked at. An error is a *Refusal, or the database's.
func (s *Store) Compile(r Request, workspace, id string) (*Graph, error) {
	w, err := s.Get(workspace, id)
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrName):
		refusal := refuse(configuration+".workflow_id", "this box keeps no workflow %.128q in the workspace %.128q", id, workspace).
			want("one that was put to /api/v1/workflows/WORKSPACE/ID, or a workflow_specification")
		kept, err := s.db.Workflows().Keys()
		if err != nil {
			return nil, err
		}
		return nil, refusal.have(kept)
	case err != nil:
		return nil, err
	}
	r.Specification = w.Specification
	return Compile(r, s.models)
}

func unknown(workspace, id string) error {
	return fmt.Errorf("%w: %s/%s is not kept on this box", ErrUnknown, workspace, id)
}

// maxKeyPart bounds each part of a name: together they are a key of the database.
const maxKeyPart = 100

// keyOf is a workflow's key. Names are what can stand in a path of an address as it
// is: letters, digits, and . _ - within.
func keyOf(workspace, id string) (string, error) {
	for _, part := range []string{workspace, id} {
		if part == "" || len(part) > maxKeyPart {
			return "", fmt.Errorf("%w: %.32q has %d bytes, and a name has 1 to %d", ErrName, part, len(part), maxKeyPart)
		}
		for i, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			if !letter && (i == 0 || r != '.' && r != '_' && r != '-') {
				return "", fmt.Errorf("%w: %.128q may have letters and digits, and . _ - after the first", ErrName, part)
			}
		}
	}
	return workspace + "/" + id, nil
}
