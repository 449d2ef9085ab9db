package intake

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// outcome is how a body ended.
type outcome struct {
	n     int64
	err   error
	whole bool
}

// reading serves requests whose bodies are read by take.
func reading(t *testing.T, idle time.Duration, take func(*Body)) (address string, ends chan outcome) {
	t.Helper()
	ends = make(chan outcome, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := NewBody(w, r, idle)
		defer b.Release()
		if take != nil {
			take(b)
		}
		n, err := io.Copy(io.Discard, b)
		ends <- outcome{n, err, b.Whole()}
	}))
	// The server's own timeouts are for whole requests.
	s.Config.ReadTimeout, s.Config.WriteTimeout = 150*time.Millisecond, 150*time.Millisecond
	s.Config.ReadHeaderTimeout = 30 * time.Second
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), ends
}

func dial(t *testing.T, address, header string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", header)
	return c
}

func TestABodyMayTakeLong(t *testing.T) {
	address, ends := reading(t, 10*time.Second, nil)
	c := dial(t, address, "Content-Length: 5")
	for range 5 {
		time.Sleep(100 * time.Millisecond) // in all more than the server's timeouts
		io.WriteString(c, "x")
	}
	if o := <-ends; o.n != 5 || o.err != nil || !o.whole {
		t.Errorf("%+v", o)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("no answer after a long body: %v", err)
	}
}

func TestADeadConnectionEnds(t *testing.T) {
	address, ends := reading(t, 700*time.Millisecond, nil)
	c := dial(t, address, "Content-Length: 5")
	io.WriteString(c, "ab")
	if o := <-ends; o.n != 2 || !errors.Is(o.err, ErrStalled) || o.whole {
		t.Errorf("%+v", o)
	}
}

func TestABrokenBodyIsNotWhole(t *testing.T) {
	for name, header := range map[string]string{"length": "Content-Length: 5", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			address, ends := reading(t, 10*time.Second, nil)
			c := dial(t, address, header)
			io.WriteString(c, strings.Repeat("2\r\nab\r\n", strings.Count(header, "chunked"))+strings.Repeat("ab", strings.Count(header, "Length")))
			c.(*net.TCPConn).CloseWrite()
			if o := <-ends; o.n != 2 || !errors.Is(o.err, ErrBroken) || o.whole {
				t.Errorf("%+v", o)
			}
		})
	}
}

func TestABodyIsInterrupted(t *testing.T) {
	// While it waits, and before it begins.
	for name, take := range map[string]func(*Body){
		"waiting": func(b *Body) { time.AfterFunc(100*time.Millisecond, b.Yield) },
		"before":  func(b *Body) { b.Yield() },
	} {
		t.Run(name, func(t *testing.T) {
			address, ends := reading(t, time.Hour, take)
			dial(t, address, "Content-Length: 5")
			select {
			case o := <-ends:
				if !errors.Is(o.err, ErrInterrupted) || o.whole {
					t.Errorf("%+v", o)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("still reading")
			}
		})
	}
}
