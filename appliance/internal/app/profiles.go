package app

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"sync"
	"time"
)

// mostSeconds bounds how long one profile takes.
const mostSeconds = 600

// Rates of the profiles that are off until they are asked for: a sample for each 10 us
// that goroutines wait, and of each fifth contention.
const (
	blockRate     = 10_000 // ns
	mutexFraction = 5
)

// profiles answers GET /NAME?seconds=N with what the runtime knows. It is not
// net/http/pprof: to import that registers its handlers on the mux that every server
// without one of its own has.
type profiles struct {
	mu sync.Mutex // one that takes time at a time
}

func newProfiles() http.Handler {
	p := &profiles{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cpu", p.during(10, cpuProfile))
	mux.HandleFunc("GET /trace", p.during(5, executionTrace))
	mux.HandleFunc("GET /block", p.during(10, blockProfile))
	mux.HandleFunc("GET /mutex", p.during(10, mutexProfile))
	mux.HandleFunc("GET /heap", lookup("heap", 0))
	mux.HandleFunc("GET /allocs", lookup("allocs", 0))
	mux.HandleFunc("GET /goroutines", lookup("goroutine", 1)) // as text, grouped by stack
	return mux
}

// lookup writes what there is at this moment; with ?gc=1 after what nobody holds any
// more was freed and given back, so that memory can be compared.
func lookup(name string, detail int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("gc") != "" {
			debug.FreeOSMemory()
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_ = pprof.Lookup(name).WriteTo(w, detail) // the reader went away
	}
}

// during writes what take finds in the time asked for, else usual seconds; wait returns
// when that is over or the reader gone.
func (p *profiles) during(usual int, take func(w io.Writer, wait func()) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seconds := usual
		if s := r.URL.Query().Get("seconds"); s != "" {
			var err error
			if seconds, err = strconv.Atoi(s); err != nil || seconds < 1 || seconds > mostSeconds {
				http.Error(w, fmt.Sprintf("seconds are from 1 to %d", mostSeconds), http.StatusBadRequest)
				return
			}
		}
		if !p.mu.TryLock() {
			http.Error(w, "another profile is being taken: try again when it is done", http.StatusConflict)
			return
		}
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/octet-stream")
		err := take(w, func() {
			timer := time.NewTimer(time.Duration(seconds) * time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
		})
		if err != nil { // nothing is written yet
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}
}

func cpuProfile(w io.Writer, wait func()) error {
	if err := pprof.StartCPUProfile(w); err != nil {
		return err
	}
	wait()
	pprof.StopCPUProfile()
	return nil
}

func executionTrace(w io.Writer, wait func()) error {
	if err := trace.Start(w); err != nil {
		return err
	}
	wait()
	trace.Stop()
	return nil
}

func blockProfile(w io.Writer, wait func()) error {
	runtime.SetBlockProfileRate(blockRate)
	wait()
	runtime.SetBlockProfileRate(0)
	_ = pprof.Lookup("block").WriteTo(w, 0) // the reader went away
	return nil
}

func mutexProfile(w io.Writer, wait func()) error {
	before := runtime.SetMutexProfileFraction(mutexFraction)
	wait()
	runtime.SetMutexProfileFraction(before)
	_ = pprof.Lookup("mutex").WriteTo(w, 0) // the reader went away
	return nil
}
