package rtcworker

import "math"

const (
	// unacknowledged is how far a session's worker may be ahead of what was written, as
	// long as its client acknowledges nothing.
	unacknowledged = 8
	// realtimeDocuments is how many documents of a realtime session may wait.
	realtimeDocuments = 4
	// unlimited lets a worker go on whatever it has sent.
	unlimited = math.MaxInt64
)

// credit says up to which frame a session's worker may send results. It never takes
// back what it said.
//
// A session that is not realtime waits at the limit: so many frames beyond those that
// were written, or, from the first acknowledgement on, beyond those acknowledged. A
// realtime session leaves out the documents beyond it and goes on; once there is room again the
// limit has to be in front of where its frames are then, which handled tells.
type credit struct {
	realtime bool
	window   uint64
	// unread: nobody is there to read documents; then nothing holds the worker up.
	unread bool

	acking  bool
	acked   uint64 // what the client says that it has handled
	offered uint64 // the newest frame, as of the last ack, whose document had begun to be written
	written uint64 // the newest frame whose document was written to the transport
	waiting int    // documents that are not written yet
	handled uint64 // frames that have a number, as of the worker's last sign of life
	through uint64
}

// ack notes what the client says it has handled. It may say more than there was yet, to
// be held up by nothing but itself.
func (c *credit) ack(n, offered uint64) {
	c.acking = true
	c.acked = max(c.acked, n)
	c.offered = max(c.offered, offered)
}

// confirmed is the newest frame that the client can have handled, of those that it says
// it has.
func (c *credit) confirmed() uint64 { return min(c.acked, max(c.offered, c.written)) }

// limit is the frame up to which the worker may go.
func (c *credit) limit() uint64 {
	switch {
	case c.unread:
		c.through = unlimited
	case c.realtime && c.waiting < realtimeDocuments:
		c.through = max(c.through, max(c.written, c.handled)+realtimeDocuments)
	case c.realtime:
	case c.acking:
		c.through = max(c.through, c.confirmed()+c.window)
	default:
		c.through = max(c.through, c.written+unacknowledged)
	}
	return c.through
}
