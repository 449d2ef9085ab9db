package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// followed is a job whose results are read on and on.
type followed struct {
	id    string
	lines [][]byte // each with its line break
}

// readOn reads the lines that are there, or that come within about a second, on one of
// three roads; a job's reader always takes the same one.
func (c *crash) readOn(ctx context.Context, f *followed) error {
	switch f.id[len(f.id)-1] % 4 {
	case 0:
		return c.readEvents(ctx, f)
	case 1:
		return c.readChannel(ctx, f)
	default:
		return c.readLines(ctx, f)
	}
}

// take takes the next line.
func (c *crash) take(f *followed, line []byte) {
	var v struct{ Seq int }
	if err := json.Unmarshal(line, &v); err != nil || v.Seq != len(f.lines)+1 {
		c.wrongResults("the job %s: line %d is %.80q: %v", f.id, len(f.lines)+1, line, err)
	}
	f.lines = append(f.lines, line)
	c.done.lines.Add(1)
}

// readLines reads by the cursor in the address.
func (c *crash) readLines(ctx context.Context, f *followed) error {
	res, err := c.do(ctx, "GET", fmt.Sprintf("/api/v1/jobs/%s/results?from=%d&wait=1", f.id, len(f.lines)+1), nil, nil, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for in := bufio.NewReader(res.Body); ; {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err // cut off: the part of a line does not count
		}
		c.take(f, line)
	}
}

// readEvents reads server-sent events after the last one that came.
func (c *crash) readEvents(ctx context.Context, f *followed) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	res, err := c.do(ctx, "GET", "/api/v1/jobs/"+f.id+"/events", map[string]string{"Last-Event-ID": strconv.Itoa(len(f.lines))}, nil, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	event, data := "", ""
	for in := bufio.NewReader(res.Body); ; {
		text, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil // the end, or enough for now
		}
		if err != nil {
			return err
		}
		text = strings.TrimSuffix(text, "\n")
		switch name, value, _ := strings.Cut(text, ": "); name {
		case "event":
			event = value
		case "data":
			data = value
		case "": // the event is whole
			if event == "result" {
				c.take(f, []byte(data+"\n"))
			}
			event, data = "", ""
		}
	}
}

// readChannel reads over a data channel.
func (c *crash) readChannel(ctx context.Context, f *followed) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	p, ch, err := client.Dial(ctx, *c.url.Load(), "results", client.Options{Loopback: true})
	if err != nil {
		return err
	}
	defer p.Close()
	// A killed box says nothing any more.
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	_, err = ch.Results(f.id, uint64(len(f.lines)+1), func(line json.RawMessage) error {
		c.take(f, append([]byte(line), '\n'))
		return nil
	})
	if ctx.Err() != nil {
		return nil // enough for now
	}
	return err
}
