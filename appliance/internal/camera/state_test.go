package camera

import (
	"testing"
)

var allEvents = []event{played, failed, died, crashed, stalled, ended, again, stopped}

func TestEveryEdge(t *testing.T) {
	refused := State("")
	awake := func(onDeath State) map[event]State {
		return map[event]State{played: Playing, failed: Offline, died: onDeath, crashed: Crashing, stalled: Stalled, ended: Ended, stopped: Stopped}
	}
	for from, edges := range map[State]map[event]State{
		Starting: awake(Starting),
		Playing:  awake(Starting),
		Offline:  awake(Offline), // it stays offline for its viewers until it plays
		Stalled:  awake(Stalled),
		Crashing: awake(Crashing),
		Ended:    {again: Starting, stopped: Stopped},
		Stopped:  {},
		"bored":  {},
	} {
		for _, e := range allEvents {
			want, ok := edges[e]
			if !ok {
				want = refused
			}
			got, err := from.next(e)
			switch {
			case want == refused && err == nil:
				t.Errorf("%s on %s went to %s, want an error", from, e, got)
			case want == refused && got != from:
				t.Errorf("%s on %s: refused, but the state became %s", from, e, got)
			case want != refused && (err != nil || got != want):
				t.Errorf("%s on %s: %s, %v; want %s", from, e, got, err, want)
			}
		}
		if _, err := from.next("rain"); err == nil {
			t.Errorf("%s took an unknown event", from)
		}
	}
}
