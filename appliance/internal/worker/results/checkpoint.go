package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision/track"
	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Checkpoint is how far an analysis had come when everything before it was on
// disk: with the same work to do, it can go on from there.
type Checkpoint struct {
	Work   Work     `json:"work"`
	Source SourceID `json:"source"`
	// Decoder is the element that decoded the first frame.
	Decoder string `json:"decoder"`
	// Frame is the last that all of the rest includes, and PTS its time; 0: none.
	Frame uint64        `json:"frame"`
	PTS   time.Duration `json:"pts_ns"`
	// Log is where the log was after that frame.
	Log    Position    `json:"log"`
	Ledger link.Ledger `json:"ledger"`
	// Failed counts the frames up to Frame that could not be analysed in a row.
	Failed  int         `json:"failed_in_a_row"`
	Tracker track.State `json:"tracker"`
	// Recording is how far the annotated video is; nil: there is none.
	Recording *Recording `json:"recording,omitempty"`
	// Spent is the time that the analysis took up to here, and Runs how often it
	// was begun.
	Spent time.Duration `json:"spent_ns"`
	Runs  int           `json:"runs"`
	// Summary: the analysis is complete, and only the final files are to be made.
	Summary *Summary `json:"summary,omitempty"`
}

// Recording is the state of annotated.mp4.part.
type Recording struct {
	// Encoder is the element, and the rest what it was made with: all segments are
	// made alike.
	Encoder string  `json:"encoder"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	FPS     float64 `json:"fps"`
	// Mark is the movie writer's.
	Mark json.RawMessage `json:"mark"`
}

// maxCheckpoint is far above a tracker's 512 objects and a summary.
const maxCheckpoint = 16 << 20

// Save replaces the folder's checkpoint; what it counts on must be synced before.
func (c Checkpoint) Save(dir string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write %s: %w", CheckpointName, err)
	}
	if err := replace(filepath.Join(dir, CheckpointName), append(text, '\n')); err != nil {
		return Explain(err)
	}
	return nil
}

// errNoCheckpoint says why there is nothing to go on from.
var errNoCheckpoint = errors.New("there is no checkpoint")

func readCheckpoint(dir string) (Checkpoint, error) {
	var c Checkpoint
	if err := readJSON(filepath.Join(dir, CheckpointName), maxCheckpoint, &c); err != nil {
		return c, fmt.Errorf("%w: %w", errNoCheckpoint, err)
	}
	if c.Log.Bytes < 0 || c.Log.Seq > uint64(c.Log.Bytes) || c.Log.Seq > c.Frame || c.Runs < 0 || c.Spent < 0 || !c.Ledger.Balanced() || c.Ledger.Decoded != c.Frame && c.Summary == nil {
		return c, fmt.Errorf("%w: it contradicts itself", errNoCheckpoint)
	}
	return c, nil
}
