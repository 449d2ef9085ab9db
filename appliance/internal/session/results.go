package session

import (
	"context"
	"encoding/json"
	"fmt"
)

// ResultsLabel is the label of the results channel.
const ResultsLabel = "results"

// Follow gives a job's results from one on, in order, to take, waits for those that
// are to come, and returns how the job ended and how many results it has. take may
// wait. An error of take ends it.
type Follow func(ctx context.Context, job string, from uint64, take func(seq uint64, line []byte) error) (status string, results uint64, err error)

// maxRequest is the longest text that the results channel takes, bytes.
const maxRequest = 16 << 10

// Results is the service of the results channel: a cursor on a job's log. The
// client sends
//
//	{"results":{"job":ID,"from":SEQ}}
//
// and gets, for each result from SEQ on, {"result":{"seq":…,…}} (or, where that is too long for
// one message, {"part":{"seq","index","total","data"}}…, whose data, base64, make up the result in
// order of index), and at the job's end
// {"end":{"job":ID,"status":…,"results":N}}. One cursor at a time; the next request may
// follow the end. A client that was cut off asks again from the next SEQ.
func Results(follow Follow) Service {
	return func(ctx context.Context, ch Channel) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		requests := make(chan resultsRequest)
		failed := make(chan error, 1)
		go func() { // ends with the channel, which the caller closes behind us
			defer cancel()
			buf := make([]byte, maxRequest)
			for {
				n, text, err := ch.Read(buf)
				if err != nil {
					failed <- err
					return
				}
				if n <= 1 {
					continue // a keep-alive
				}
				var m struct{ Results resultsRequest }
				if !text || json.Unmarshal(buf[:n], &m) != nil || m.Results.Job == "" {
					if ch.WriteText(problem(`The results channel takes {"results":{"job":ID,"from":SEQ}}.`)) != nil {
						return
					}
					continue
				}
				select {
				case requests <- m.Results:
				case <-ctx.Done():
					return
				}
			}
		}()
		for {
			select {
			case r := <-requests:
				if err := followOne(ctx, ch, follow, r); err != nil {
					return err
				}
			case <-ctx.Done():
				select {
				case err := <-failed:
					if over(err) {
						return nil
					}
					return err
				default:
					return ctx.Err()
				}
			}
		}
	}
}

// longestLine is the longest result that goes in one message, bytes: peers take messages
// of 64 KiB unless they say otherwise (RFC 8841 section 6.1).
const longestLine = 60 << 10

// writeParts sends a result that is too long for one message. A part is a piece of its
// text, cut anywhere, in base64.
func writeParts(ch Channel, seq uint64, line []byte) error {
	const piece = longestLine * 3 / 4 // of which base64 makes a third more
	parts := (len(line) + piece - 1) / piece
	for i := range parts {
		text, err := json.Marshal(map[string]any{"part": map[string]any{
			"seq": seq, "index": i, "total": parts, "data": line[i*piece : min(len(line), (i+1)*piece)],
		}})
		if err != nil {
			return fmt.Errorf("write a long result: %w", err)
		}
		if err := ch.WriteText(text); err != nil {
			return err
		}
	}
	return nil
}

type resultsRequest struct {
	Job  string
	From uint64
}

// followOne serves one cursor; its error is the channel's.
func followOne(ctx context.Context, ch Channel, follow Follow, r resultsRequest) error {
	var broken error
	var buf []byte
	status, results, err := follow(ctx, r.Job, max(1, r.From), func(seq uint64, line []byte) error {
		if len(line) > longestLine {
			broken = writeParts(ch, seq, line)
			return broken
		}
		buf = append(append(append(buf[:0], `{"result":`...), line...), '}')
		broken = ch.WriteText(buf)
		return broken
	})
	switch {
	case broken != nil:
		return broken
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return ch.WriteText(problem(err.Error()))
	}
	end, err := json.Marshal(map[string]any{"end": map[string]any{"job": r.Job, "status": status, "results": results}})
	if err != nil {
		return fmt.Errorf("write the end of the results: %w", err)
	}
	return ch.WriteText(end)
}
