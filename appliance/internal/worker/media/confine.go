package media

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox"
	"github.com/watchpost/watchpost/gst/plan"
	"github.com/watchpost/watchpost/hw/accel"
)

// confine locks the worker in and reports how strong the lock is. GStreamer has
// started: its plugins were looked over, which may take a process and a write, and
// nothing of the source was opened yet.
func (w *worker) confine() error {
	switch {
	case w.start.Mode == "file":
		// The sandbox may fill the folder, and not make it.
		if err := os.MkdirAll(w.start.OutDir, 0o755); err != nil {
			return link.Fault{Kind: link.FaultOutput, Message: fmt.Sprintf("make the results folder: %v", err)}
		}
	case w.session != nil && (w.session.peer() || w.session.file()):
	default:
		return fmt.Errorf("a worker of mode %q that plays %s needs more than a sandbox gives: confine those of files and of peers' own tracks",
			w.start.Mode, plan.Redact(w.start.Source.URL))
	}
	policy, err := w.policy()
	if err != nil {
		return err
	}
	// The time zone is read once, at the first need of it: now.
	_, _ = time.Now().Zone()
	report, err := sandbox.Confine(policy)
	if err != nil {
		return fmt.Errorf("the worker could not be confined, and handles no file unconfined: %w", err)
	}
	return w.conn.Send(link.KindConfined, link.Confined{LandlockABI: report.LandlockABI, Missing: report.Missing})
}

// policy is what this worker's work needs: its file, its model, its results. A
// session writes nothing, and a peer's track comes over the link.
func (w *worker) policy() (sandbox.Policy, error) {
	read := []string{plan.FilePath(w.start.Source.URL), filepath.Join(w.cfg.DataDir, RegistryFile)}
	if w.start.Model != "" {
		read = append(read, modelFiles(w.start.Model)...)
		if lib := accel.Find(w.cfg.DataDir); lib != "" {
			read = append(read, libraryFiles(lib)...)
		}
	}
	if w.session != nil && w.session.peer() {
		read = read[1:]
	}
	var p sandbox.Policy
	for _, path := range read {
		abs, err := filepath.Abs(path)
		if err != nil {
			return p, fmt.Errorf("find %s: %w", path, err)
		}
		p.Read = append(p.Read, abs)
	}
	if w.start.Mode != "file" {
		return p, nil
	}
	out, err := filepath.Abs(w.start.OutDir)
	p.Write = []string{out}
	return p, err
}

// modelFiles are those that a model at path consists of: a folder and what its
// links point to, or a network and the cards that may be beside it.
func modelFiles(path string) []string {
	list, err := os.ReadDir(path)
	if err != nil {
		stem := strings.TrimSuffix(path, filepath.Ext(path))
		return []string{path, stem + ".yaml", stem + ".yml", filepath.Join(filepath.Dir(path), "card.yaml")}
	}
	files := []string{path}
	for _, e := range list {
		if e.Type()&os.ModeSymlink != 0 {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files
}

// libraryFiles are the model runtime and the execution providers that it loads from
// its own folder.
func libraryFiles(library string) []string {
	files := []string{library}
	if real, err := filepath.EvalSymlinks(library); err == nil {
		library = real
	}
	dir := filepath.Dir(library)
	list, err := os.ReadDir(dir)
	if err != nil {
		return files // opening the library says why
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "libonnxruntime") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}
