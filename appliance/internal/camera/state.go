package camera

import "fmt"

// State is what a camera is doing, as its operator would say it.
type State string

// The states of a camera.
const (
	Starting State = "starting" // a worker opens the source, or is about to
	Playing  State = "playing"  // frames arrive
	Offline  State = "offline"  // the source failed; it is tried again
	Stalled  State = "stalled"  // frames or the worker stopped; it is started anew
	Crashing State = "crashing" // the worker dies again and again; longer pauses
	Ended    State = "ended"    // a file that does not loop has been played
	Stopped  State = "stopped"  // for good
)

// event is what happens to a camera.
type event string

const (
	played  event = "played"  // the source's first frames came
	failed  event = "failed"  // the source failed, and the worker said why
	died    event = "died"    // the worker ended without a reason of the source
	crashed event = "crashed" // it did so too often
	stalled event = "stalled" // no frame, or no sign of life, for too long
	ended   event = "ended"   // the source came to its end
	again   event = "again"   // an ended source is to be played once more
	stopped event = "stopped" // the owner's wish
)

// next is the state that e leads to. An attempt to play does not change the
// state: a camera that is offline stays so, for its viewers, until it plays.
func (s State) next(e event) (State, error) {
	switch s {
	case Starting, Playing, Offline, Stalled, Crashing:
		switch e {
		case played:
			return Playing, nil
		case failed:
			return Offline, nil
		case crashed:
			return Crashing, nil
		case stalled:
			return Stalled, nil
		case ended:
			return Ended, nil
		case stopped:
			return Stopped, nil
		case died:
			if s == Playing {
				return Starting, nil
			}
			return s, nil
		}
	case Ended:
		switch e {
		case again:
			return Starting, nil
		case stopped:
			return Stopped, nil
		}
	case Stopped:
	}
	return s, fmt.Errorf("a camera that is %s cannot have %s", s, e)
}
