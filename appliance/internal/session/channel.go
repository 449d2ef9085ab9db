package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// Channel is a data channel as its service sees it. One goroutine reads; any may
// write.
type Channel interface {
	// Read returns one message: its length in p, and whether it is text. A
	// message longer than p is an error (io.ErrShortBuffer). io.EOF: the peer
	// closed the channel.
	Read(p []byte) (n int, text bool, err error)
	// Write and WriteText send one message. They wait while the peer reads too
	// slowly, for at most a minute.
	Write(p []byte) error
	WriteText(p []byte) error
}

// Service serves one channel and returns when it is through with it; ctx ends
// with the session.
type Service func(ctx context.Context, ch Channel) error

// Bounds of what waits in a channel for a slow reader, bytes: writers wait above
// the first until it is below the second.
const (
	highWater = 1 << 20
	lowWater  = 256 << 10
)

// slowReader is how long a peer may take none of what waits for it.
const slowReader = time.Minute

var errSlowReader = errors.New("the peer reads nothing")

// closeTime is what a peer has to take the last messages of a channel.
const closeTime = 5 * time.Second

// OutBytes is the name among the box's queues of what waits in data channels for their
// peers to read it, in bytes. A message goes in while there are at most so many as the
// queue's bound, so that the last one may exceed it.
const OutBytes = "data channel bytes"

// DataChannel is a Channel over a detached data channel.
type DataChannel struct {
	ctx context.Context
	dc  *webrtc.DataChannel
	raw datachannel.ReadWriteCloser
	low chan struct{} // capacity 1: the buffer fell below lowWater

	meter *queue.Meter
	write sync.Mutex
}

// NewChannel makes one of a channel that was detached (raw), which it owns from then on.
// Writers give up when ctx ends; readers end with the connection. q knows it until Close.
func NewChannel(ctx context.Context, dc *webrtc.DataChannel, raw datachannel.ReadWriteCloser, q *queue.Registry) *DataChannel {
	c := &DataChannel{ctx: ctx, dc: dc, raw: raw, low: make(chan struct{}, 1)}
	dc.SetBufferedAmountLowThreshold(lowWater)
	dc.OnBufferedAmountLow(func() {
		select {
		case c.low <- struct{}{}:
		default:
		}
	})
	c.meter = q.Register(OutBytes, queue.Block, highWater, func() int { return int(dc.BufferedAmount()) })
	return c
}

// Read implements Channel.
func (c *DataChannel) Read(p []byte) (int, bool, error) { return c.raw.ReadDataChannel(p) }

// Write implements Channel.
func (c *DataChannel) Write(p []byte) error { return c.send(p, false) }

// WriteText implements Channel.
func (c *DataChannel) WriteText(p []byte) error { return c.send(p, true) }

func (c *DataChannel) send(p []byte, text bool) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.room(slowReader, highWater); err != nil {
		return err
	}
	_, err := c.raw.WriteDataChannel(p, text)
	return err
}

// room waits until at most limit bytes wait for the peer.
func (c *DataChannel) room(patience time.Duration, limit uint64) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for c.dc.BufferedAmount() > limit {
		select {
		case <-c.low:
		case <-time.After(50 * time.Millisecond): // an event that came before we looked
		case <-timer.C:
			return errSlowReader
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
	return nil
}

// Close lets the peer have what was written, for which it has 5 s, then closes.
func (c *DataChannel) Close() {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.room(closeTime, 0) // who does not read by then goes without
	_ = c.raw.Close()        // the connection may be gone already
	c.meter.Close()
}

// problem is an error as channels tell it.
func problem(message string) []byte {
	data, err := json.Marshal(map[string]any{"error": map[string]string{"message": message}})
	if err != nil {
		return []byte(`{"error":{"message":"an error that cannot be written"}}`)
	}
	return data
}

// printable is a label as text: bounded, and without what steers terminals.
func printable(s string) string {
	const most = 64
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = s[:most]
	}
	return s
}

// over tells whether a read error is the peer's orderly end.
func over(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) }
