package live

import (
	"context"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

func TestViewer(t *testing.T) {
	for _, tc := range []struct {
		name  string
		o     clientOptions
		codec Codec
	}{
		{"UDP", clientOptions{audio: true}, H264},
		{"TCP", clientOptions{tcp: true}, H264},
		{"VP8", clientOptions{vp8: true}, VP8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, e, web := testServer(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go e.run(ctx, 60)
			c := watch(t, web.URL, tc.o)
			eventually(t, "200 packets", 5*time.Second, func() bool { return len(c.received()) > 200 })
			cancel()
			got, stamps := units(t, c.received(), tc.codec)
			if c.codec != mimeType(tc.codec) {
				t.Errorf("codec %s", c.codec)
			}
			// Every picture is one that was published, in order, and the
			// first is a keyframe.
			e.mu.Lock()
			last := e.count
			e.mu.Unlock()
			n := uint32(1)
			for i, u := range got {
				for ; n <= last; n++ {
					key, size := i == 0 || len(u) > 20000, e.size
					if key {
						size *= 5
					}
					want := testUnit(tc.codec, key, n, size)
					if tc.codec == VP8 && string(u) == string(want) || tc.codec == H264 && sameNALs(u, want) {
						break
					}
				}
				if n > last {
					t.Fatalf("picture %d of %d bytes is none that was published, or out of order", i, len(u))
				}
				n++
				if i > 0 {
					if d := stamps[i] - stamps[i-1]; d == 0 || d > 90000 {
						t.Errorf("timestamp step %d", d)
					}
				}
			}
			st := s.Stats().Streams[tc.codec-1]
			t.Logf("%d pictures; %+v", len(got), st)
			if st.Connected != 1 || st.Skipped != 0 {
				t.Errorf("stats: %+v", st)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	_, _, web := testServer(t, nil)
	c := watch(t, web.URL, clientOptions{audio: true})
	t.Logf("%s", c.answer)
	eventually(t, "connection", 5*time.Second, func() bool { return c.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
}
