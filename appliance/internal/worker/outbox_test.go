package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func kinds(messages []link.Message) (k []link.Kind) {
	for _, m := range messages {
		k = append(k, m.Kind)
	}
	return k
}

// A worker that is slow to read its pictures hears the other commands all the same, and
// of the track's end behind the last picture.
func TestPicturesLetOtherCommandsThrough(t *testing.T) {
	o := newOutbox()
	for i := range mediaBatch + 1 {
		u := link.AccessUnit{Codec: link.VP8, PTS: time.Duration(i), Data: make([]byte, 10)}
		o.put(func(o *outbox) { o.addMedia(u) })
	}
	o.put(func(o *outbox) { o.end = true })
	<-o.wake
	if got := o.take(); len(got) != mediaBatch || o.pictures() != 1 || o.commands() != 1 {
		t.Fatalf("first %v, and %d pictures and %d commands wait", kinds(got), o.pictures(), o.commands())
	}
	select {
	case <-o.wake:
	default:
		t.Fatal("nobody is told that there is more")
	}
	o.put(func(o *outbox) { o.credit = &link.Credit{Through: 7} })
	got := o.take()
	if k := kinds(got); !slices.Equal(k, []link.Kind{link.KindCredit, link.KindMedia, link.KindEnd}) {
		t.Errorf("then %v", k)
	}
	if u := got[1].Value.(link.AccessUnit); u.PTS != mediaBatch {
		t.Errorf("the last picture is %v", u.PTS)
	}
	if left := o.take(); len(left) != 0 || o.weight != 0 || o.commands() != 0 {
		t.Errorf("left: %v, %d bytes, %d commands", kinds(left), o.weight, o.commands())
	}
}

func TestPicturesAreBounded(t *testing.T) {
	o := newOutbox()
	for i := range mediaQueue + 1 {
		if ok := o.addMedia(link.AccessUnit{Data: make([]byte, 1)}); ok != (i < mediaQueue) {
			t.Fatalf("picture %d: taken %t", i, ok)
		}
	}
	for o.pictures() > 0 {
		o.take()
	}
	big := link.AccessUnit{Data: make([]byte, mediaBytes/2)}
	first, second := o.addMedia(big), o.addMedia(big)
	if !first || !second || o.addMedia(link.AccessUnit{Data: make([]byte, 1)}) {
		t.Error("what pictures weigh is not bounded")
	}
	o.take()
	if !o.addMedia(big) {
		t.Error("there is no room though all was taken")
	}
}
