package boxtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// Camera is a camera as the API tells of it: what tests look at, by the names of
// the API's documentation.
type Camera struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Analyser string    `json:"analyser"`
	Encoder  string    `json:"encoder"`
	Boxes    string    `json:"boxes"`
	// BoxesReason is why they are burned in though the page was to draw them.
	BoxesReason string   `json:"boxes_reason"`
	Viewers     int      `json:"viewers"`
	Objects     []Object `json:"objects"`
	Stream      struct {
		Codec   string  `json:"codec"`
		Width   int     `json:"width"`
		Height  int     `json:"height"`
		FPS     float64 `json:"fps"`
		Decoder string  `json:"decoder"`
	} `json:"stream"`
	Ledger Ledger `json:"ledger"`
	Worker struct {
		PID int   `json:"pid"`
		RSS int64 `json:"rss_bytes"`
		// CPU is processor time used so far, in seconds.
		CPU float64 `json:"cpu_seconds"`
	} `json:"worker"`
	Restarts struct {
		Count  int      `json:"count"`
		Exit   string   `json:"exit"`
		Stderr []string `json:"stderr"`
	} `json:"restarts"`
}

// Ledger is where all frames went.
type Ledger struct {
	Decoded         uint64 `json:"decoded"`
	Inferred        uint64 `json:"inferred"`
	Skipped         uint64 `json:"skipped"`
	SkippedMotion   uint64 `json:"skipped_no_motion"`
	SkippedRate     uint64 `json:"skipped_rate_limit"`
	SkippedHeat     uint64 `json:"skipped_heat"`
	Dropped         uint64 `json:"dropped"`
	Failed          uint64 `json:"failed"`
	Pending         uint64 `json:"pending"`
	PicturesSent    uint64 `json:"pictures_sent"`
	PicturesDropped uint64 `json:"pictures_dropped"`
	DecoderErrors   uint64 `json:"decoder_errors"`
	Balanced        bool   `json:"balanced"`
}

// Sum is what Decoded has to be.
func (l Ledger) Sum() uint64 {
	return l.Inferred + l.SkippedMotion + l.SkippedRate + l.SkippedHeat + l.Dropped + l.Failed + l.Pending
}

// Object is one tracked object, in pixels of the frame.
type Object struct {
	ID    int     `json:"id"`
	Label string  `json:"label"`
	Score float64 `json:"score"`
	X0    float64 `json:"x0"`
	Y0    float64 `json:"y0"`
	X1    float64 `json:"x1"`
	Y1    float64 `json:"y1"`
}

// Detections are those of one frame. PTS is on the time line of the pictures.
type Detections struct {
	Camera  string   `json:"camera"`
	Frame   uint64   `json:"frame"`
	PTS     int64    `json:"pts_ns"`
	Width   int      `json:"width"`
	Height  int      `json:"height"`
	Missed  uint64   `json:"missed"`
	Objects []Object `json:"objects"`
}

// Upload is what tests look at of a pushed file.
type Upload struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Size       *int64     `json:"size"`
	Received   int64      `json:"received"`
	Contiguous int64      `json:"contiguous"`
	Have       [][2]int64 `json:"have"`
	Status     string     `json:"status"`
	SHA256     string     `json:"sha256"`
	Problem    string     `json:"problem"`
	Jobs       []string   `json:"jobs"`
}

// Job is what tests look at of the analysis of a pushed file.
type Job struct {
	ID       string `json:"id"`
	Upload   string `json:"upload"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	Streamed bool   `json:"streamed"`
	Attempts int    `json:"attempts"`
	Deaths   int    `json:"deaths"`
	Reason   string `json:"reason"`
	Results  uint64 `json:"results"`
	Ledger   Ledger `json:"ledger"`
	Worker   *struct {
		PID int `json:"pid"`
	} `json:"worker"`
}

// Uploads lists the pushed files, the oldest first.
func (b *Box) Uploads(ctx context.Context) ([]Upload, error) {
	var list struct{ Uploads []Upload }
	err := b.Get(ctx, "/api/v1/uploads", &list)
	return list.Uploads, err
}

// Jobs lists their analyses, the oldest first.
func (b *Box) Jobs(ctx context.Context) ([]Job, error) {
	var list struct{ Jobs []Job }
	err := b.Get(ctx, "/api/v1/jobs", &list)
	return list.Jobs, err
}

// Get reads a JSON document of the API; into may be a *[]byte for the text itself.
func (b *Box) Get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, res.Status, strings.TrimSpace(string(body)))
	}
	if text, ok := into.(*[]byte); ok {
		*text = body
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// Camera asks for one camera.
func (b *Box) Camera(ctx context.Context, id string) (Camera, error) {
	var c Camera
	err := b.Get(ctx, "/api/v1/cameras/"+id, &c)
	return c, err
}

// Watch connects a viewer to a camera.
func (b *Box) Watch(ctx context.Context, id string, o viewer.Options) (*viewer.Viewer, error) {
	return viewer.Connect(ctx, b.URL+"/api/v1/cameras/"+id+"/whep", o)
}

// Follow hands every frame's detections of a camera to take, from one
// goroutine, until ctx ends or the box ends the stream.
func (b *Box) Follow(ctx context.Context, id string, take func(Detections)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"/api/v1/cameras/"+id+"/events?detections=every", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("follow %s: %w", id, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("follow %s: %s", id, res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	event := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			event = value
		case name == "data" && event == "detections":
			var d Detections
			if err := json.Unmarshal([]byte(value), &d); err != nil {
				return fmt.Errorf("follow %s: %w", id, err)
			}
			take(d)
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow %s: %w", id, err)
	}
	return ctx.Err()
}
