package rtcworker

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
)

// command is what a client says on the inference channel; fields that are nil were not
// said.
type command struct {
	ack    *uint64
	stream *outputs
	data   *outputs
}

// outputs is a new list of outputs; absent: null was sent, which stands for the default.
type outputs struct {
	names  []string
	absent bool
}

var errUnknownText = errors.New("it is no JSON object of ack, stream_output or data_output")

// parseCommand reads a text of the inference channel. A *refusal is to be told to the
// client, another error to the log: such texts are ignored.
func parseCommand(text []byte) (command, error) {
	var c command
	var w struct {
		Ack    json.RawMessage `json:"ack"`
		Stream json.RawMessage `json:"stream_output"`
		Data   json.RawMessage `json:"data_output"`
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return c, errUnknownText
	}
	if w.Ack == nil && w.Stream == nil && w.Data == nil {
		return c, errUnknownText
	}
	if w.Ack != nil {
		n, ok := parseAck(w.Ack)
		if !ok {
			return c, errors.New("its ack is no frame's number")
		}
		c.ack = &n
	}
	for _, o := range []struct {
		name string
		raw  json.RawMessage
		into **outputs
	}{{"stream_output", w.Stream, &c.stream}, {"data_output", w.Data, &c.data}} {
		if o.raw == nil {
			continue
		}
		names, present, err := outputNames(o.name, o.raw)
		if err != nil {
			return command{ack: c.ack}, err
		}
		*o.into = &outputs{names: names, absent: !present}
	}
	return c, nil
}

// parseAck takes whole numbers, however they are written: 3, 3.0, 3e0. What is too
// large for any frame is the largest.
func parseAck(raw json.RawMessage) (uint64, bool) {
	if n, err := strconv.ParseUint(string(bytes.TrimSpace(raw)), 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(bytes.TrimSpace(raw)), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), !(f >= 0), f != math.Trunc(f):
		return 0, false
	case f >= math.MaxInt64:
		return math.MaxInt64, true
	}
	return uint64(f), true
}
