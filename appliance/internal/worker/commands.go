package worker

import (
	"errors"
	"os"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

// Want tells the worker which renditions somebody watches.
func (w *Worker) Want(v link.Want) { w.out.put(func(o *outbox) { o.want = &v }) }

// Throttle limits the worker's analysis.
func (w *Worker) Throttle(v link.Throttle) { w.out.put(func(o *outbox) { o.throttle = &v }) }

// Grow tells the worker how much of its file has arrived.
func (w *Worker) Grow(v link.Grow) { w.out.put(func(o *outbox) { o.grow = &v }) }

// Pause has the worker's analysis of a file rest, or go on.
func (w *Worker) Pause(v link.Pause) { w.out.put(func(o *outbox) { o.pause = &v }) }

// Select tells a session's worker which outputs to send from now on.
func (w *Worker) Select(v link.Select) { w.out.put(func(o *outbox) { o.selected = &v }) }

// Credit tells a session's worker how far results may run ahead.
func (w *Worker) Credit(v link.Credit) { w.out.put(func(o *outbox) { o.credit = &v }) }

// Media gives the worker the next picture of the peer's track, and tells whether
// there was room for it. Where there was not, pictures up to the next keyframe are
// of no use: the peer should be asked for one.
func (w *Worker) Media(u link.AccessUnit) (ok bool) {
	w.out.put(func(o *outbox) { ok = o.addMedia(u) })
	if !ok {
		w.mediaMeter.Dropped(1)
	}
	return ok
}

// MediaBytes is how much of what Media took waits to be sent to the worker.
func (w *Worker) MediaBytes() int { return w.out.mediaWeight() }

// End tells the worker that the peer's track is over.
func (w *Worker) End() { w.out.put(func(o *outbox) { o.end = true }) }

// Keyframe asks for a keyframe of one rendition; requests that the worker has
// not read yet are one.
func (w *Worker) Keyframe(c link.Codec) {
	if c.Valid() {
		w.out.put(func(o *outbox) { o.keyframe[c-link.H264] = true })
	}
}

// Stop asks the worker to finish what it has in hand and exit. If it has not
// after Config.Grace, it is killed. Stop does not wait: Wait does.
func (w *Worker) Stop() {
	w.out.put(func(o *outbox) { o.stop = true })
	w.stopOnce.Do(func() { close(w.stopping) })
}

// write sends what comes into the outbox until the worker is gone.
func (w *Worker) write() {
	for {
		select {
		case <-w.out.wake:
		case <-w.exited:
			return
		}
		for _, m := range w.out.take() {
			w.conn.SetWriteDeadline(time.Now().Add(w.cfg.BeatTimeout))
			err := w.conn.Send(m.Kind, m.Value)
			switch {
			case err == nil:
			case errors.Is(err, os.ErrDeadlineExceeded):
				w.end(link.ErrDeaf)
				return
			case errors.Is(err, link.ErrProtocol):
				w.end(err) // a mistake of this process: the worker cannot be told
				return
			default:
				return // it closed its end; the reader deals with that
			}
		}
	}
}
