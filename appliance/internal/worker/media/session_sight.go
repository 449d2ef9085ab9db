package media

import (
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/vision/motion"
	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/hw/accel"
)

// finding is one thing that was found in one frame.
type finding struct {
	vision.Detection
	id       [36]byte // a UUID in text: one detection, in whichever output
	detected bool     // its score reaches the threshold
	track    int      // 0: it is in no track
	fresh    bool     // the track was not told of before
}

// in tells whether it belongs to a set of link's.
func (f *finding) in(set string) bool {
	switch set {
	case link.Detected:
		return f.detected
	case link.Tracked:
		return f.track > 0
	case link.New:
		return f.track > 0 && f.fresh
	case link.Seen:
		return f.track > 0 && !f.fresh
	}
	return false
}

// sight is a session's analysis: one detector, and perhaps one tracker behind it.
// One goroutine calls look.
type sight struct {
	*analysis          // its tracker is nil where nothing is tracked
	classes   []string // of the motion analyser; a model chooses by itself
	newest    int      // the greatest id that was told of
	ids       *rand.ChaCha8
}

// newSight makes the analysis that Start and its session ask for, and reports it.
func (w *worker) newSight() (*sight, error) {
	var seed [32]byte
	crand.Read(seed[:])
	g := &sight{ids: rand.NewChaCha8(seed)}
	var err error
	switch {
	case w.detector != nil:
		g.analysis = &analysis{detector: w.detector, scaler: engine.NewScaler()}
		err = g.follow(w.start.Session.Tracker, 0, 0)
	case w.start.Model == "":
		err = g.watchMotion(w)
	default:
		err = g.watchWith(w)
	}
	if err != nil {
		return nil, link.Fault{Kind: link.FaultModel, Message: oneLine(fmt.Sprintf("model %s: %v", w.start.Model, err))}
	}
	return g, nil
}

func (g *sight) watchMotion(w *worker) error {
	still, err := motion.New(motion.Config{})
	if err != nil {
		return err
	}
	g.analysis = &analysis{motion: still, threshold: w.start.Threshold}
	g.classes = w.start.Classes
	w.setStatus(func(s *link.Status) { s.Analyser = motionName })
	high := max(w.start.Threshold, 0.1)
	return g.follow(w.start.Session.Tracker, high, high/2)
}

func (g *sight) watchWith(w *worker) error {
	m, err := model.Read(w.start.Model)
	if err != nil {
		return err
	}
	rt, err := accel.Open(accel.Find(w.cfg.DataDir))
	if err != nil {
		return err
	}
	ask := w.start.Session
	high := w.start.Threshold
	if high == 0 {
		high = m.Card.Threshold
	}
	g.analysis = &analysis{runtime: rt, scaler: engine.NewScaler(), modelFile: m.Path, threshold: high}
	least := high
	if ask.Tracker != nil {
		// The weak ones continue tracks that nothing better continues.
		least = weakest(high)
	}
	if g.detector, err = newDetector(rt, m, model.Options{
		Threads: modelThreads(w.start.Threads), Threshold: least, NMSIoU: ask.IoU, Classes: w.start.Classes,
	}, w); err == nil {
		err = g.follow(ask.Tracker, high, least)
	}
	if err != nil {
		g.close()
	}
	return err
}

// newDetector loads the model and reports what runs it.
func newDetector(rt *accel.Runtime, m model.Model, o model.Options, w *worker) (detector, error) {
	d, err := model.NewDetector(rt, m, o)
	if err != nil {
		return nil, err
	}
	w.setStatus(func(s *link.Status) { s.Analyser, s.Runtime = m.Name, d.Provider() })
	return d, nil
}

// lostUnit is the time that a frame of Tracker.LostFrames stands for: trackers of
// the protocol's clients count it in frames of a 30 Hz video, whatever the rate.
const lostUnit = time.Second / 30

// follow makes the tracker, if one was asked for.
func (g *sight) follow(t *link.Tracker, high, low float32) (err error) {
	if t == nil {
		return nil
	}
	c := track.Config{High: high, Low: low, Confirm: t.FirstFrames, Lost: time.Duration(t.LostFrames) * lostUnit}
	if t.Activation > 0 {
		c.High = t.Activation
		c.Low = min(low, c.High)
	}
	if t.Matching > 0 {
		c.Overlap = min(max(1-t.Matching, 0.01), 1)
	}
	g.tracker, err = track.New(c)
	return err
}

// look finds what is in a frame.
func (g *sight) look(f *engine.Frame, pts time.Duration) ([]finding, error) {
	g.busy.begin()
	defer g.busy.end()
	began := time.Now()
	var dets []vision.Detection
	if g.detector == nil {
		moved := g.motion.Update(f.Planes[0], f.Stride[0], f.Width, f.Height, pts)
		dets = slices.DeleteFunc(motion.Detections(moved), func(d vision.Detection) bool { return !g.wants(d.Label) })
	} else {
		var err error
		if dets, err = g.detect(f); err != nil {
			g.failed++
			return nil, err
		}
	}
	g.failed = 0
	found := make([]finding, 0, len(dets))
	for _, d := range dets {
		found = append(found, finding{Detection: d, id: g.newID(), detected: d.Score >= g.threshold})
	}
	if g.tracker != nil {
		g.tracker.SetFrame(f.Width, f.Height)
		g.name(found, g.tracker.Follow(pts, dets))
	}
	g.spent.add(time.Since(began))
	// What is weaker than was asked for was for the tracker alone.
	return slices.DeleteFunc(found, func(f finding) bool { return !f.detected }), nil
}

// name writes the tracks' ids to the findings that support them and are told of.
func (g *sight) name(found []finding, tracks []track.Match) {
	newest := g.newest
	for _, t := range tracks {
		i := slices.IndexFunc(found, func(f finding) bool { return f.detected && f.track == 0 && f.Detection == t.Found })
		if i >= 0 {
			found[i].track, found[i].fresh = t.ID, t.ID > g.newest
			newest = max(newest, t.ID)
		}
	}
	g.newest = newest
}

func (g *sight) wants(label string) bool {
	return len(g.classes) == 0 || slices.ContainsFunc(g.classes, func(c string) bool { return strings.EqualFold(c, label) })
}

// newID is a random UUID, RFC 9562 section 5.4.
func (g *sight) newID() (text [36]byte) {
	var b [16]byte
	g.ids.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	for _, i := range [...]int{8, 13, 18, 23} {
		text[i] = '-'
	}
	return text
}
