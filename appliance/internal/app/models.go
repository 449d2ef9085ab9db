package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/config"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/hw/accel"
)

// ModelOptions say where models are; Dir wins over the data folder's own.
type ModelOptions struct{ Dir, DataDir string }

// InstallOptions are what Program.InstallModel is asked for.
type InstallOptions struct{ From, SHA256, Name, Card, Family string }

// defaultModel is used where nobody names one and it is installed.
const defaultModel = "yolox-nano"

// chosenModel is an analyser that was looked up.
type chosenModel struct {
	path string // what a worker is told; empty: motion
	note string // what to tell the user of the choice
}

// findModel looks up the analyser that a user named: "motion", an installed
// model, or a path. With no name it is the default model, or motion where that
// is not installed.
func (p Program) findModel(dir, name string) (chosenModel, error) {
	if name == config.Motion {
		return chosenModel{}, nil
	}
	if isPath(name) {
		m, err := model.Read(name)
		if err != nil {
			return chosenModel{}, of(ErrModel, "%v", err)
		}
		return absolute(m)
	}
	store, err := model.OpenStore(dir)
	if err != nil {
		return chosenModel{}, of(ErrModel, "%v", err)
	}
	wanted := name
	if wanted == "" {
		wanted = defaultModel
	}
	m, err := store.Get(wanted)
	if name == "" && errors.Is(err, model.ErrNotFound) {
		return chosenModel{note: fmt.Sprintf("no model is installed in %s: analysing motion only (install one with: watchpost model install FILE, or name another folder with --data)", dir)}, nil
	}
	if err != nil {
		return chosenModel{}, of(ErrModel, "%v", err)
	}
	return absolute(m)
}

// isPath tells a model's file or folder from the name of an installed one.
func isPath(name string) bool {
	return strings.ContainsRune(name, os.PathSeparator) || strings.HasSuffix(name, ".onnx")
}

func absolute(m model.Model) (chosenModel, error) {
	path, err := filepath.Abs(m.Path)
	if err != nil {
		return chosenModel{}, err
	}
	return chosenModel{path: path}, nil
}

func (p Program) openModels(o ModelOptions) (*model.Store, string, error) {
	data, err := dataDir(o.DataDir)
	if err != nil {
		return nil, "", err
	}
	dir := o.Dir
	if dir == "" {
		dir = filepath.Join(data, "models")
	}
	s, err := model.OpenStore(dir)
	if err != nil {
		return nil, "", of(ErrModel, "%v", err)
	}
	return s, data, nil
}

// ListModels prints the installed models.
func (p Program) ListModels(_ context.Context, o ModelOptions) error {
	s, _, err := p.openModels(o)
	if err != nil {
		return err
	}
	models, err := s.List()
	if len(models) == 0 && err == nil {
		fmt.Printf("no models in %s: install one with: watchpost model install FILE\n", s.Dir())
		return nil
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tFAMILY\tCLASSES\tLICENCE\tSIZE")
	for _, m := range models {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%.1f MB\n", m.Name, m.Card.Output.Family, len(m.Card.Labels), m.Card.Licence, float64(m.Size)/1e6)
	}
	if ferr := t.Flush(); ferr != nil {
		return ferr
	}
	if err != nil {
		return of(ErrModel, "%v", err)
	}
	return nil
}

// InstallModel puts a model into the store, after proving it.
func (p Program) InstallModel(ctx context.Context, o ModelOptions, in InstallOptions) error {
	s, data, err := p.openModels(o)
	if err != nil {
		return err
	}
	rt, err := openRuntime(data)
	if err != nil {
		return err
	}
	defer rt.Close()
	m, err := s.Install(ctx, rt, in.From, model.InstallOptions{
		SHA256: in.SHA256, Name: in.Name, Card: in.Card, Family: in.Family,
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return of(ErrModel, "%v", err)
	}
	fmt.Printf("installed %s: %s\n", m.Name, m.Path)
	return nil
}

// CheckModel proves an installed model, or one at a path, and says how it did.
func (p Program) CheckModel(_ context.Context, o ModelOptions, name string) error {
	s, data, err := p.openModels(o)
	if err != nil {
		return err
	}
	look := s.Get
	if isPath(name) {
		look = model.Read
	}
	m, err := look(name)
	if err != nil {
		return of(ErrModel, "%v", err)
	}
	rt, err := openRuntime(data)
	if err != nil {
		return err
	}
	defer rt.Close()
	r, err := model.Prove(rt, m, model.Options{})
	if err != nil {
		return of(ErrModel, "%v", err)
	}
	fmt.Printf("%s: good: %s, %dx%d, %d classes, on %s: loaded in %v, one run %v\nsha256 %s\n",
		r.Model.Name, m.Card.Output.Family, r.Width, r.Height, len(m.Card.Labels), r.Provider,
		r.Load.Round(time.Millisecond), r.Run.Round(100*time.Microsecond), r.SHA256)
	return nil
}

func openRuntime(data string) (*accel.Runtime, error) {
	rt, err := accel.Open(accel.Find(data))
	if err != nil {
		return nil, of(ErrModel, "%v", err)
	}
	return rt, nil
}

// modelFor looks up a camera's analyser each time that a worker is started, so
// that a model installed meanwhile is used. A model that cannot be had does not
// take the picture away: the camera runs on motion, and the log says why, once.
func (p Program) modelFor(cfg *config.Config, cam config.Camera, said *string) string {
	name := cfg.ModelOf(cam)
	m, err := p.findModel(cfg.ModelsDir(), name)
	if err == nil {
		*said = ""
		return m.path
	}
	if *said != err.Error() {
		*said = err.Error()
		p.Log.Warn("running on the motion analyser", "camera", cam.ID, "model", name, "reason", err)
	}
	return ""
}
