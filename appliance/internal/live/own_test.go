package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// group publishes n of the camera's own pictures, the first a keyframe, the last
// one of now, and returns the presentation time of the next.
func group(t *testing.T, st *Stream, n int, interval time.Duration, pts time.Duration) time.Duration {
	t.Helper()
	for i := range n {
		at := time.Now().Add(-time.Duration(n-1-i) * interval)
		u := Unit{Codec: H264, Own: true, Keyframe: i == 0, PTS: pts, Data: testUnit(H264, i == 0, uint32(i), 900)}
		if err := st.rendition(H264).publish(u, at); err != nil {
			t.Fatal(err)
		}
		pts += interval
	}
	st.signal()
	return pts
}

// What a viewer of the camera's own pictures begins with stays, within bounds;
// other streams keep what they always kept.
func TestRingKeepsAGroup(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name     string
		own      bool
		frames   int
		interval time.Duration
		size     int
		begins   bool
	}{
		{"ten seconds", true, 300, time.Second / 30, 1000, true},
		{"encoded here", false, 300, time.Second / 30, 1000, false},
		{"longer than 20 s", true, 700, time.Second / 30, 1000, false},
		{"more than 16 MiB", true, 300, time.Second / 30, 80_000, false},
		{"more than 1200 frames", true, 1300, time.Second / 120, 100, false},
	} {
		r := newRendition(H264)
		var at time.Time
		for i := range tc.frames {
			at = now.Add(time.Duration(i) * tc.interval)
			u := Unit{Codec: H264, Own: tc.own, Keyframe: i == 0, PTS: time.Duration(i) * tc.interval, Data: testUnit(H264, i == 0, uint32(i), tc.size)}
			if err := r.publish(u, at); err != nil {
				t.Fatal(err)
			}
			if len(r.ring) > ownFrames || r.bytes > ownBytes || int(r.head-r.tail) != len(r.ring) {
				t.Fatalf("%s: %d frames of %d bytes, tail %d, head %d", tc.name, len(r.ring), r.bytes, r.tail, r.head)
			}
		}
		n, ok := r.start(0, at)
		if ok != tc.begins || ok && n != 1 {
			t.Errorf("%s: begins at %d, %v; %d frames", tc.name, n, ok, len(r.ring))
		}
		if _, ok := r.start(0, at.Add(ownSilence)); ok {
			t.Errorf("%s: begins with pictures of a camera that is silent", tc.name)
		}
		if !ok && (len(r.ring) > ringFrames || r.bytes > ringBytes) {
			t.Errorf("%s: %d frames of %d bytes are kept for nothing", tc.name, len(r.ring), r.bytes)
		}
		// The next keyframe makes room.
		if err := r.publish(Unit{Codec: H264, Own: tc.own, Keyframe: true, PTS: time.Hour, Data: testUnit(H264, true, 1, tc.size)}, at); err != nil {
			t.Fatal(err)
		}
		if len(r.ring) > ringFrames {
			t.Errorf("%s: %d frames are kept beside a new keyframe", tc.name, len(r.ring))
		}
	}
}

// A viewer that joins far from a keyframe gets the whole group, timed so that it
// catches up at once, and goes on with the pictures' own times. One that loses the
// picture gets the group again. The camera is never asked for a keyframe.
func TestJoinAndRewind(t *testing.T) {
	s, e, web := testServer(t, nil)
	const n, interval = 240, time.Second / 30
	pts := group(t, e.stream, n, interval, 0)
	next := func() {
		e.stream.Publish(Unit{Codec: H264, Own: true, PTS: pts, Data: testUnit(H264, false, uint32(pts/interval), 900)})
		pts += interval
	}
	c := watch(t, web.URL, clientOptions{})
	pictures := func() ([][]byte, []uint32) { return units(t, c.inOrder(), H264) }
	eventually(t, "the whole group", 5*time.Second, func() bool { got, _ := pictures(); return len(got) >= n })
	next()
	eventually(t, "the next picture", 5*time.Second, func() bool { got, _ := pictures(); return len(got) >= n+1 })
	got, stamps := pictures()
	for i := range n {
		if !sameNALs(got[i], testUnit(H264, i == 0, uint32(i), 900)) {
			t.Fatalf("picture %d is another", i)
		}
		if d := int32(stamps[i+1] - stamps[i]); i < n-1 && d != replayStep || i == n-1 && d != 3000 {
			t.Fatalf("picture %d comes %d ticks after the one before", i+1, d)
		}
	}
	video := c.pc.GetReceivers()[0].Track()
	if err := c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(video.SSRC())}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss to be noted", 5*time.Second, func() bool { return s.Stats().Streams[0].PictureLosses == 1 })
	next() // there is no room for a group's times before the next picture
	eventually(t, "the group again", 5*time.Second, func() bool { got, _ := pictures(); return len(got) >= 2*n+3 })
	got, stamps = pictures()
	if !sameNALs(got[n+1], testUnit(H264, true, 0, 900)) {
		t.Error("what follows a loss is no keyframe")
	}
	for i := 1; i < len(stamps); i++ {
		if int32(stamps[i]-stamps[i-1]) <= 0 {
			t.Fatalf("picture %d: time goes back by %d ticks", i, int32(stamps[i-1]-stamps[i]))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) > 0 {
		t.Errorf("%d keyframes were asked for that cannot be had", len(e.requests))
	}
}

func TestBoxes(t *testing.T) {
	s, e, web := testServer(t, nil)
	var mu sync.Mutex
	var messages []boxesMessage
	var labels []string
	c := watch(t, web.URL, clientOptions{channels: []string{"other", boxesLabel}, message: func(label, text string) {
		mu.Lock()
		defer mu.Unlock()
		var m boxesMessage
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Error(err)
		}
		messages, labels = append(messages, m), append(labels, label)
	}})
	plain := watch(t, web.URL, clientOptions{})
	eventually(t, "the channel", 5*time.Second, func() bool { return e.stream.channels.Load() == 1 })
	const interval = time.Second / 30
	pts := time.Duration(0)
	publish := func(own bool, objects int) {
		e.stream.Publish(Unit{Codec: H264, Own: own, Keyframe: pts == 0, PTS: pts, Data: testUnit(H264, pts == 0, 1, 500)})
		b := Boxes{PTS: pts, Width: 640, Height: 360}
		for i := range objects {
			b.Objects = append(b.Objects, Box{ID: i + 1, Class: 2, Label: "car", Score: 0.5, X0: 1, Y0: 2, X1: 3, Y1: 4})
		}
		e.stream.PublishBoxes(b)
		pts += interval
	}
	for range 30 {
		publish(true, 1)
		time.Sleep(5 * time.Millisecond)
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(messages) }
	eventually(t, "boxes", 5*time.Second, func() bool { return count() > 20 })
	eventually(t, "pictures", 5*time.Second, func() bool { return len(c.received()) > 20 && len(plain.received()) > 20 })
	known := map[uint32]bool{}
	for _, p := range c.received() {
		known[p.Timestamp] = true
	}
	mu.Lock()
	found := 0
	for i, m := range messages {
		if known[m.RTP] {
			found++
		}
		if m.Width != 640 || len(m.Objects) != 1 || m.Objects[0] != (Box{1, 2, "car", 0.5, 1, 2, 3, 4}) || labels[i] != boxesLabel {
			t.Errorf("on %s: %+v", labels[i], m)
		}
	}
	// Of the pictures before the viewer's first, the first is replayed with another time.
	if found < len(messages)*3/4 {
		t.Errorf("%d of %d messages name a picture that came", found, len(messages))
	}
	mu.Unlock()

	// Boxes of no picture, and of pictures that have them drawn on, go nowhere.
	before := s.Stats().Streams[0]
	have := count()
	e.stream.PublishBoxes(Boxes{PTS: pts + time.Minute})
	publish(false, 1)
	if st := s.Stats().Streams[0]; st.BoxesUnmatched != before.BoxesUnmatched+2 {
		t.Errorf("%d frames were not found, want 2", st.BoxesUnmatched-before.BoxesUnmatched)
	}

	// A flood is dropped, not queued.
	began := time.Now()
	for range 500 {
		publish(true, maxBoxes+100)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("500 frames took %v", d)
	}
	eventually(t, "messages of the flood", 5*time.Second, func() bool { return count() > have })
	st := s.Stats().Streams[0]
	if st.BoxesDropped == 0 || st.BoxesSent+st.BoxesDropped < 500 {
		t.Errorf("sent %d, dropped %d", st.BoxesSent, st.BoxesDropped)
	}
	mu.Lock()
	if got := len(messages[len(messages)-1].Objects); got != maxBoxes {
		t.Errorf("%d boxes in a message, want at most %d", got, maxBoxes)
	}
	mu.Unlock()

	if res, _ := request(t, http.MethodDelete, web.URL+c.session, "", "", nil); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	eventually(t, "the channel to be forgotten", 5*time.Second, func() bool { return e.stream.channels.Load() == 0 })
}

// Data channels are answered where they were offered, in any order of sections,
// and refused in any other form.
func TestOfferedChannels(t *testing.T) {
	_, e, web := testServer(t, nil)
	c := watch(t, web.URL, clientOptions{channels: []string{boxesLabel}, audio: true, message: func(string, string) {}})
	eventually(t, "the channel", 5*time.Second, func() bool { return e.stream.channels.Load() == 1 })
	for _, want := range []string{"m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "m=audio 0 "} {
		if !strings.Contains(c.answer, want) {
			t.Errorf("no %q in the answer:\n%s", want, c.answer)
		}
	}
	// An ICE restart names the first section alone.
	frag := "a=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
	res, body := request(t, http.MethodPatch, web.URL+c.session, typeFragment, frag, map[string]string{"If-Match": "*"})
	if res.StatusCode != http.StatusOK || strings.Count(body, "a=mid:") != 1 {
		t.Errorf("%s\n%s", res.Status, body)
	}
	pc := newPeer(t, clientOptions{})
	if _, err := pc.CreateDataChannel(boxesLabel, nil); err != nil {
		t.Fatal(err)
	}
	sdp := strings.Replace(offerOf(t, pc, false), "webrtc-datachannel", "something-else", 1)
	res, body = request(t, http.MethodPost, web.URL+"/api/v1/cameras/front/whep", typeSDP, sdp, nil)
	if res.StatusCode != http.StatusCreated || !strings.Contains(body, fmt.Sprintf("m=application 0 %s something-else", dataProtos)) {
		t.Errorf("%s\n%s", res.Status, body)
	}
}
