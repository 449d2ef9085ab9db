package live

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Stream is one camera's pictures and their viewers. One goroutine, started
// with it, sends to all of them.
type Stream struct {
	id       string
	server   *Server
	log      *slog.Logger
	producer Producer

	renditions [len(codecs)]*rendition

	boxes       chan []byte // messages for the sender; leaky
	boxMeter    *queue.Meter
	channels    atomic.Int64
	boxCounters boxesCounters

	wake   chan struct{} // capacity 1: something changed
	closed chan struct{}
	done   chan struct{}
	once   sync.Once

	mu      sync.Mutex
	viewers []*viewer // replaced, never modified: the sender reads it without mu
	counts  [len(codecs)]int
	asked   [len(codecs)]bool // a keyframe is wanted, since the sender last looked
}

func newStream(s *Server, id string, p Producer) *Stream {
	st := &Stream{
		id: id, server: s, log: s.log.With("camera", id), producer: p,
		boxes: make(chan []byte, boxesQueue),
		wake:  make(chan struct{}, 1), closed: make(chan struct{}), done: make(chan struct{}),
	}
	for i, c := range codecs {
		st.renditions[i] = newRendition(c)
		st.renditions[i].meter = s.deps.Queues.Register(framesQueue, queue.DropOldest, ownFrames, st.renditions[i].kept)
	}
	st.boxMeter = s.deps.Queues.Register(boxesName, queue.DropOldest, boxesQueue, func() int { return len(st.boxes) })
	return st
}

// Publish gives a unit to the viewers. It never blocks; a unit that cannot be
// packetized is dropped and counted.
func (st *Stream) Publish(u Unit) {
	r := st.rendition(u.Codec)
	if r == nil || r.publish(u, time.Now()) != nil {
		return
	}
	st.signal()
}

// Viewers returns how many there are, those included that still connect.
func (st *Stream) Viewers() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := 0
	for _, c := range st.counts {
		n += c
	}
	return n
}

// Close ends the stream and its viewers' sessions, and waits for its goroutine.
func (st *Stream) Close() {
	st.server.forget(st)
	st.boxMeter.Close()
	for _, r := range st.renditions {
		r.meter.Close()
	}
	st.stop()
	<-st.done
}

func (st *Stream) stop() { st.once.Do(func() { close(st.closed) }) }

func (st *Stream) rendition(c Codec) *rendition {
	if i := slices.Index(codecs[:], c); i >= 0 {
		return st.renditions[i]
	}
	return nil
}

// signal wakes the sender.
func (st *Stream) signal() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// add takes a viewer in, before it is connected: its rendition is wanted from
// now on, so that the encoder is warm when the first packet can go out.
func (st *Stream) add(v *viewer) {
	st.mu.Lock()
	st.viewers = append(slices.Clone(st.viewers), v)
	st.counts[slices.Index(codecs[:], v.rendition.codec)]++
	st.mu.Unlock()
	st.signal()
}

func (st *Stream) remove(v *viewer) {
	v.gone.Store(true)
	st.mu.Lock()
	if i := slices.Index(st.viewers, v); i >= 0 {
		st.viewers = slices.Delete(slices.Clone(st.viewers), i, i+1)
		st.counts[slices.Index(codecs[:], v.rendition.codec)]--
	}
	st.mu.Unlock()
	st.signal()
}

// askKeyframe has the encoder asked for a keyframe as soon as that is allowed.
func (st *Stream) askKeyframe(c Codec) {
	st.mu.Lock()
	st.asked[slices.Index(codecs[:], c)] = true
	st.mu.Unlock()
	st.signal()
}

// sender is what the sending goroutine alone knows.
type sender struct {
	*Stream
	demand    demand
	keyframes [len(codecs)]keyframes
	seen      [len(codecs)]uint64 // frames up to here were looked at
	timer     *time.Timer
}

// run sends until the stream is closed.
func (st *Stream) run() {
	defer close(st.done)
	s := &sender{Stream: st, demand: demand{linger: st.server.config.Linger}, timer: time.NewTimer(time.Hour)}
	for i := range s.seen {
		s.seen[i] = 1
	}
	defer s.timer.Stop()
	var tick <-chan time.Time
	ticked, enter := func() {}, func() func() { return func() {} }
	if st.server.deps.Loops != nil {
		loop := st.server.deps.Loops("live/" + st.id)
		tick, ticked, enter = loop.Tick(), loop.Ticked, loop.Enter
		if l, ok := loop.(interface{ Stop() }); ok {
			defer l.Stop()
		}
	}
	for {
		select {
		case <-st.closed:
			return
		case <-tick:
			ticked()
			continue
		case <-st.wake:
		case <-s.timer.C:
		}
		leave := enter()
		s.round()
		leave()
	}
}

// round sends what there is and tells the producer what is wanted.
func (s *sender) round() {
	now := time.Now()
	s.mu.Lock()
	viewers, counts, asked := s.viewers, s.counts, s.asked
	s.asked = [len(codecs)]bool{}
	s.mu.Unlock()

	changed, again := s.demand.update(now, counts)
	if changed {
		s.producer.Want(s.demand.wanted[0], s.demand.wanted[1])
	}
	keyless, wait := s.pump(viewers, now)
	again = soonest(again, wait)
	s.sendBoxes(viewers)
	for i, r := range s.renditions {
		k := &s.keyframes[i]
		if asked[i] || keyless[i] {
			k.want()
		}
		s.look(i, k)
		if counts[i] == 0 || r.own.Load() {
			k.wanted = false
			continue
		}
		ask, wait := k.due(now)
		if ask {
			r.counters.requests.Add(1)
			s.producer.RequestKeyframe(r.codec)
		}
		again = soonest(again, wait)
	}
	if again == 0 {
		again = time.Hour
	}
	s.timer.Reset(again)
}

// look notes the keyframes among the frames that came since the last time,
// and measures how old the newest were when they had been handed over.
func (s *sender) look(i int, k *keyframes) {
	r := s.renditions[i]
	tail, head := r.bounds()
	for n := max(s.seen[i], tail); n < head; n++ {
		if f := r.frame(n); f != nil && f.keyframe {
			k.passed(f.arrived)
		}
	}
	s.seen[i] = head
}

// pump gives every viewer what it may have now. It returns the renditions of
// which a viewer waits for a keyframe that must be asked for, and after how
// long there is more to send; 0: there is not.
func (s *sender) pump(viewers []*viewer, now time.Time) (keyless [len(codecs)]bool, again time.Duration) {
	if len(viewers) == 0 {
		return keyless, 0
	}
	var done [len(codecs)]int
	s.server.peers.Burst(func() {
		for _, v := range viewers {
			o := v.send(now)
			again = soonest(again, o.again)
			i := v.rendition.codec - 1
			keyless[i] = keyless[i] || o.keyless
			done[i] += o.frames
		}
	})
	for i, r := range s.renditions {
		if done[i] > 0 {
			s.measure(i, r)
		}
	}
	return keyless, again
}

// measure observes the delay from capture to the socket of the frames that
// all viewers were just given.
func (s *sender) measure(i int, r *rendition) {
	clock := monotonic()
	_, head := r.bounds()
	for n := s.seen[i]; n < head; n++ {
		if f := r.frame(n); f != nil && f.captured > 0 && clock > f.captured {
			s.server.metrics.delay.Observe(float64(clock-f.captured) / 1e9)
		}
	}
}

// monotonic reads CLOCK_MONOTONIC in ns: the clock of Unit.Captured, which is
// the same for all processes of the machine.
func monotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}
