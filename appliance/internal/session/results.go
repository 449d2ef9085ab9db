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
// and gets, for each result from SEQ on, {"result":{"seq":…,…}}, and at the job's end
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

type resultsRequest struct {
	Job  string
	From uint64
}

// followOne serves one cursor; its error is the channel's.
func followOne(ctx context.Context, ch Channel, follow Follow, r resultsRequest) error {
	var broken error
	var buf []byte
	status, results, err := follow(ctx, r.Job, max(1, r.From), func(_ uint64, line []byte) error {
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
