package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// hanging are sources that never bring anything: an RTSP server that takes
// connections and says no word, and an MJPEG server that sends its head and stops.
type hanging struct {
	rtsp, mjpeg string // addresses
	close       func()
}

func startHanging() (*hanging, error) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		silent.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // who has left by now does not hang
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	}), ReadHeaderTimeout: time.Minute}
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(web) })
	work.Go(func() {
		var taken []net.Conn
		for {
			c, err := silent.Accept()
			if err != nil {
				break
			}
			taken = append(taken, c)
		}
		for _, c := range taken {
			c.Close()
		}
	})
	return &hanging{
		rtsp: fmt.Sprintf("rtsp://%s/nothing", silent.Addr()), mjpeg: fmt.Sprintf("http://%s/nothing.mjpg", web.Addr()),
		close: func() {
			cancel()
			silent.Close()
			server.Close()
			work.Wait()
		},
	}, nil
}
