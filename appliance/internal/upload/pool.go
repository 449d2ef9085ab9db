package upload

import "context"

// bufferSize of Appends and Places, bytes. Larger ones made nothing faster.
const bufferSize = 128 << 10

// pool is a bounded number of buffers, made when they are needed first. Who wants one when all
// are out waits.
type pool struct {
	size int // of one, bytes
	free chan []byte
	// unmade has an entry for each buffer that may still be made.
	unmade chan struct{}
}

func newPool(n int64, size int) *pool {
	p := &pool{size: size, free: make(chan []byte, n), unmade: make(chan struct{}, n)}
	for range n {
		p.unmade <- struct{}{}
	}
	return p
}

// get waits for a buffer until ctx ends or stop is closed.
func (p *pool) get(ctx context.Context, stop <-chan struct{}) ([]byte, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	select {
	case b := <-p.free:
		return b, nil
	case <-p.unmade:
		return make([]byte, p.size), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-stop:
		return nil, errClosed()
	}
}

func (p *pool) put(b []byte) { p.free <- b[:p.size] }

// take takes n buffers if there are so many now.
func (p *pool) take(n int) [][]byte {
	var out [][]byte
	for len(out) < n {
		select {
		case b := <-p.free:
			out = append(out, b)
			continue
		default:
		}
		select {
		case <-p.unmade:
			out = append(out, make([]byte, p.size))
		default:
			for _, b := range out {
				p.put(b)
			}
			return nil
		}
	}
	return out
}

// used is how many buffers are out, and bound how many there may be.
func (p *pool) used() int  { return cap(p.free) - len(p.free) - len(p.unmade) }
func (p *pool) bound() int { return cap(p.free) }
