package health

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
)

var errStarting = errors.New("starting")

// Readiness knows whether the box can serve: every named check has passed.
type Readiness struct {
	mu     sync.Mutex
	checks []check // in the order of their first mention
}

type check struct {
	name string
	err  error
}

// NewReadiness makes a Readiness that waits for the checks named: it is not
// ready before each of them was Set to nil.
func NewReadiness(names ...string) *Readiness {
	r := &Readiness{}
	for _, n := range names {
		r.Set(n, errStarting)
	}
	return r
}

// Set notes the outcome of a check; nil is passed. The error's text is shown
// to whoever asks, without sign-in: it must hold no secrets.
func (r *Readiness) Set(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.checks, func(c check) bool { return c.name == name }); i >= 0 {
		r.checks[i].err = err
		return
	}
	r.checks = append(r.checks, check{name, err})
}

// Remove forgets a check, of a camera that was taken away.
func (r *Readiness) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = slices.DeleteFunc(r.checks, func(c check) bool { return c.name == name })
}

// Err is nil when the box is ready; else it names every check that has not
// passed, and why.
func (r *Readiness) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reasons []string
	for _, c := range r.checks {
		if c.err != nil {
			reasons = append(reasons, c.name+": "+c.err.Error())
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return errors.New(strings.Join(reasons, "; "))
}

type checkReport struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// ServeHTTP answers /readyz: 200, or 503 with the reasons.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	report := struct {
		Ready  bool          `json:"ready"`
		Checks []checkReport `json:"checks"`
	}{Ready: true, Checks: []checkReport{}}
	for _, c := range r.checks {
		cr := checkReport{Name: c.name, OK: c.err == nil}
		if c.err != nil {
			report.Ready, cr.Reason = false, c.err.Error()
		}
		report.Checks = append(report.Checks, cr)
	}
	r.mu.Unlock()
	answer(w, report.Ready, report)
}

type loopReport struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// State is running, held up, or idle: a loop that has neither ticked nor
	// been entered yet.
	State   string  `json:"state"`
	HeldMS  float64 `json:"held_ms"`
	P999MS  float64 `json:"delay_p999_ms"`
	MaxMS   float64 `json:"delay_max_ms"`
	CallMS  float64 `json:"callback_max_ms"`
	Stalled uint64  `json:"stalls"`
}

// ServeHTTP answers /healthz: 200 while every control loop makes progress,
// else 503 with the names of those that do not.
func (m *Meter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	report := struct {
		OK     bool         `json:"ok"`
		Reason string       `json:"reason,omitempty"`
		Loops  []loopReport `json:"loops"`
	}{OK: true, Loops: []loopReport{}}
	now := m.now()
	for _, l := range m.all() {
		held := l.held(now)
		lr := loopReport{
			Name: l.name, OK: held <= m.cfg.Limit, State: "running", HeldMS: held.Seconds() * 1e3,
			P999MS: l.Quantile(0.999).Seconds() * 1e3, MaxMS: l.Max().Seconds() * 1e3,
			CallMS: l.CallbackMax().Seconds() * 1e3, Stalled: l.Stalls(),
		}
		switch {
		case held > m.cfg.Warn:
			lr.State = "held up"
		case l.due.Load() == 0 && l.busy.Load() == 0:
			lr.State = "idle"
		}
		if !lr.OK {
			report.OK = false
			report.Reason = strings.TrimPrefix(report.Reason+"; "+Held{l.name, held}.String(), "; ")
		}
		report.Loops = append(report.Loops, lr)
	}
	answer(w, report.OK, report)
}

func answer(w http.ResponseWriter, ok bool, report any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The only error left is a reader that went away.
	_ = json.NewEncoder(w).Encode(report)
}
