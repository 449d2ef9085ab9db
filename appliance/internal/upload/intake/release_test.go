package intake

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// TestLateYield: whoever asks for a turn that is just being given back does not end the request that comes next on the
// connection.
func TestLateYield(t *testing.T) {
	bodies := make(chan *Body, 1)
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := NewBody(w, r, time.Minute)
		_, _ = io.Copy(io.Discard, b)
		b.Release()
		bodies <- b
	}))
	defer there.Close()
	send := func() (reused bool) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, there.URL, strings.NewReader("some bytes"))
		if err != nil {
			t.Fatal(err)
		}
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
		res, err := there.Client().Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return reused
	}
	send()
	for n := range 50 {
		b := <-bodies
		b.Yield()
		time.Sleep(time.Millisecond) // what that does is seen
		if !send() {
			t.Fatalf("request %d came on another connection", n)
		}
	}
}
