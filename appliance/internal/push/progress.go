package push

import (
	"errors"
	"io"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// Stage is where a file is on its way.
type Stage string

// The stages of a file.
const (
	Connecting Stage = "connecting"
	Sending    Stage = "sending"
	Waiting    Stage = "waiting" // for the box to come back; Err says why
	Checking   Stage = "checking"
	Analysing  Stage = "analysing"
	Fetching   Stage = "fetching"
	Done       Stage = "done"
	Failed     Stage = "failed"
)

// Progress is a file's state at one moment.
type Progress struct {
	File  string
	Stage Stage
	// Sent of Size bytes, at Rate bytes a second (over the last seconds); Left
	// is the time that the rest takes, 0: unknown.
	Sent, Size int64
	Rate       float64
	Left       time.Duration
	// Percent, FPS and Remark are the analysis's.
	Percent, FPS float64
	Remark       string
	Err          error
}

// meter measures one file's way and tells of it, at most ten times a second
// within a stage.
type meter struct {
	watch func(Progress)

	mu      sync.Mutex
	now     Progress
	told    time.Time
	samples []sample // of the last rateWindow
}

type sample struct {
	at   time.Time
	sent int64
}

// rateWindow is what a rate is the mean over.
const rateWindow = 5 * time.Second

func newMeter(file string, size int64, watch func(Progress)) *meter {
	return &meter{watch: watch, now: Progress{File: file, Size: size}}
}

// stage tells of a new stage, or of a new reason within one.
func (m *meter) stage(s Stage, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s != m.now.Stage {
		m.samples = nil // a pause is no part of a rate
	}
	m.now.Stage, m.now.Err = s, err
	m.tell(true)
}

// sent tells that n bytes of the file are on their way.
func (m *meter) sent(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Sent = n
	at := time.Now()
	if len(m.samples) == 0 || at.Sub(m.samples[len(m.samples)-1].at) > 50*time.Millisecond {
		m.samples = append(m.samples, sample{at, n})
	}
	for len(m.samples) > 2 && at.Sub(m.samples[0].at) > rateWindow {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	if d := at.Sub(first.at).Seconds(); d > 0.2 && n >= first.sent {
		m.now.Rate = float64(n-first.sent) / d
		m.now.Left = 0
		if m.now.Rate > 0 {
			m.now.Left = time.Duration(float64(m.now.Size-n) / m.now.Rate * float64(time.Second))
		}
	}
	m.tell(false)
}

func (m *meter) analysing(j job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Stage, m.now.Err = Analysing, nil
	m.now.Percent, m.now.FPS = j.Progress.Percent, j.Progress.FPS
	m.now.Remark = j.Status
	if j.Status == "running" {
		m.now.Remark = ""
	} else if j.Reason != "" {
		m.now.Remark += ": " + j.Reason
	}
	m.tell(false)
}

func (m *meter) tell(always bool) {
	if at := time.Now(); always || at.Sub(m.told) >= 100*time.Millisecond {
		m.told = at
		m.watch(m.now)
	}
}

// The ways in which a connection fails, for a person.
var (
	errRefused = errors.New("the box does not answer (connection refused)")
	errBroken  = errors.New("the connection broke")
)

// plain is an error of the network in plain words, or else without the address that
// every request repeats.
func plain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errBroken
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
