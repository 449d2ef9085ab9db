package live

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const endpoint = "/api/v1/cameras/front/whep"

func problemOf(t *testing.T, res *http.Response, body string) problem {
	t.Helper()
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q of %s", got, res.Status)
	}
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("problem %q: %v", body, err)
	}
	if p.Status != res.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v for %s", p, res.Status)
	}
	return p
}

func TestWHEPErrors(t *testing.T) {
	_, _, web := testServer(t, nil)
	good := offerOf(t, newPeer(t, clientOptions{audio: true}), true)
	for _, tc := range []struct {
		name, method, path, contentType, body string
		status                                int
		says                                  string
	}{
		{"no camera", "POST", "/api/v1/cameras/back/whep", typeSDP, good, 404, `"back"`},
		{"content type", "POST", endpoint, "text/plain", good, 415, "application/sdp"},
		{"no content type", "POST", endpoint, "", good, 415, "application/sdp"},
		{"too large", "POST", endpoint, typeSDP, good + strings.Repeat("a=x\r\n", 20000), 413, "65536"},
		{"empty", "POST", endpoint, typeSDP, "", 400, "SDP"},
		{"not SDP", "POST", endpoint, typeSDP, "{}", 400, "parse"},
		{"no codec", "POST", endpoint, typeSDP, strings.NewReplacer("H264/90000", "H265/90000", "VP8/90000", "AV1/90000").Replace(good), 406, "H.264"},
		{"audio only", "POST", endpoint, typeSDP, strings.Replace(good, "m=video", "m=audio", 1), 400, "video"},
		{"sendonly", "POST", endpoint, typeSDP, strings.ReplaceAll(good, "a=recvonly", "a=sendonly"), 400, "sendonly"},
		{"inactive", "POST", endpoint, typeSDP, strings.ReplaceAll(good, "a=recvonly", "a=inactive"), 400, "inactive"},
		{"no ufrag", "POST", endpoint, typeSDP, without(good, "a=ice-ufrag"), 400, "ice-ufrag"},
		{"no pwd", "POST", endpoint, typeSDP, without(good, "a=ice-pwd"), 400, "ice-pwd"},
		{"no fingerprint", "POST", endpoint, typeSDP, without(good, "a=fingerprint"), 400, "fingerprint"},
		{"no mid", "POST", endpoint, typeSDP, without(good, "a=mid"), 400, "mid"},
		{"passive", "POST", endpoint, typeSDP, strings.ReplaceAll(good, "setup:actpass", "setup:passive"), 400, "actpass"},
		{"no rtcp-mux", "POST", endpoint, typeSDP, without(good, "a=rtcp-mux"), 400, "rtcp-mux"},
		{"no session to delete", "DELETE", endpoint + "/nope", "", "", 404, "POST"},
		{"no session to patch", "PATCH", endpoint + "/nope", typeFragment, "", 404, "POST"},
		{"GET endpoint", "GET", endpoint, "", "", 405, "POST"},
		{"PUT session", "PUT", endpoint + "/nope", "", "", 405, "PATCH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, body := request(t, tc.method, web.URL+tc.path, tc.contentType, tc.body, nil)
			if res.StatusCode != tc.status {
				t.Fatalf("%s, want %d: %s", res.Status, tc.status, body)
			}
			if p := problemOf(t, res, body); !strings.Contains(p.Detail, tc.says) {
				t.Errorf("detail %q does not say %q", p.Detail, tc.says)
			}
			if tc.status == 405 && res.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

// without leaves out the lines that begin with a prefix.
func without(sdp, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestWHEPSession(t *testing.T) {
	s, e, web := testServer(t, func(c *Config) {
		c.ICEServers = []ICEServer{{URLs: []string{"stun:stun.example.net"}},
			{URLs: []string{"turn:turn.example.net?transport=udp"}, Username: "u", Credential: "p"}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.run(ctx, 30)

	pc := newPeer(t, clientOptions{})
	defer func() { _ = pc.Close() }()
	res, body := request(t, "POST", web.URL+endpoint, "Application/SDP; charset=utf-8", without(offerOf(t, pc, false), "a=candidate"), nil)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", res.Status, body)
	}
	location, etag := res.Header.Get("Location"), res.Header.Get("ETag")
	if !strings.HasPrefix(location, endpoint+"/") || len(etag) < 10 || etag[0] != '"' {
		t.Errorf("Location %q, ETag %q", location, etag)
	}
	if res.Header.Get("Content-Type") != typeSDP || res.Header.Get("Accept-Patch") != typeFragment {
		t.Errorf("headers %v", res.Header)
	}
	if got := strings.Join(res.Header.Values("Link"), "\n"); got != `<stun:stun.example.net>; rel="ice-server"`+"\n"+
		`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; credential="p"; credential-type="password"` {
		t.Errorf("Link %s", got)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		t.Fatal(err)
	}
	url := web.URL + location

	// Trickle: preconditions, then one good and some useless candidates.
	local, _, err := localICE(pc.LocalDescription().SDP)
	if err != nil {
		t.Fatal(err)
	}
	fragment := "a=ice-ufrag:" + local.ufrag + "\r\na=ice-pwd:" + local.pwd + "\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 2122260223 6f3a1ba2-1f4e-4b5c-9d1c-2f9d1f7e1a11.local 50000 typ host\r\n" +
		"a=" + local.candidates[0] + "\r\na=end-of-candidates\r\n"
	patch := func(body string, headers map[string]string, want int) (*http.Response, string) {
		t.Helper()
		res, text := request(t, "PATCH", url, typeFragment, body, headers)
		if res.StatusCode != want {
			t.Fatalf("PATCH: %s, want %d: %s", res.Status, want, text)
		}
		return res, text
	}
	patch(fragment, nil, http.StatusPreconditionRequired)
	patch(fragment, map[string]string{"If-Match": `"other"`}, http.StatusPreconditionFailed)
	patch("rubbish", map[string]string{"If-Match": etag}, http.StatusBadRequest)
	patch("a=ice-ufrag:"+local.ufrag+"\r\n", map[string]string{"If-Match": etag}, http.StatusBadRequest)
	if res, body := request(t, "PATCH", url, typeSDP, fragment, map[string]string{"If-Match": etag}); res.StatusCode != 415 {
		t.Errorf("%s %s", res.Status, body)
	}
	res, body = patch(fragment, map[string]string{"If-Match": etag}, http.StatusNoContent)
	if res.Header.Get("ETag") != "" || body != "" {
		t.Errorf("204 with ETag %q and body %q", res.Header.Get("ETag"), body)
	}
	eventually(t, "connection", 5*time.Second, func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })

	t.Run("restart", func(t *testing.T) { restartICE(t, s, pc, url, etag, patch) })

	// A session of one camera is not another's.
	if res, _ := request(t, "DELETE", strings.Replace(url, "front", "back", 1), "", "", nil); res.StatusCode != 404 {
		t.Errorf("DELETE of another camera's: %s", res.Status)
	}
	if res, body := request(t, "DELETE", url, "", "", map[string]string{"If-Match": `"any"`}); res.StatusCode != 200 {
		t.Errorf("DELETE: %s %s", res.Status, body)
	}
	if res, _ := request(t, "DELETE", url, "", "", nil); res.StatusCode != 404 {
		t.Errorf("DELETE again: %s", res.Status)
	}
	eventually(t, "viewer to hear of it", 5*time.Second, func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateClosed })
	if n := s.Stats().Streams[0].Viewers; n != 0 {
		t.Errorf("%d viewers", n)
	}
}

// restartICE restarts as a player does: new credentials and candidates by
// PATCH, and the remote description rebuilt from the fragment that comes back.
func restartICE(t *testing.T, s *Server, pc *webrtc.PeerConnection, url, etag string,
	patch func(string, map[string]string, int) (*http.Response, string)) {
	offer, err := pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-done
	local, _, err := localICE(pc.LocalDescription().SDP)
	if err != nil {
		t.Fatal(err)
	}
	res, body := patch("a=ice-ufrag:"+local.ufrag+"\r\na=ice-pwd:"+local.pwd+"\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na="+
		local.candidates[0]+"\r\n", map[string]string{"If-Match": "*"}, http.StatusOK)
	if res.Header.Get("Content-Type") != typeFragment || res.Header.Get("ETag") == "" || res.Header.Get("ETag") == etag {
		t.Errorf("headers %v", res.Header)
	}
	remote, p := parseFragment([]byte(body))
	if p != nil || len(remote.candidates) == 0 {
		t.Fatalf("fragment %q: %v", body, p)
	}
	patch(body, map[string]string{"If-Match": etag}, http.StatusPreconditionFailed) // the old session's tag

	var d sdp.SessionDescription
	if err := d.UnmarshalString(pc.RemoteDescription().SDP); err != nil {
		t.Fatal(err)
	}
	var attributes []sdp.Attribute
	for _, a := range d.MediaDescriptions[0].Attributes {
		switch a.Key {
		case "ice-ufrag":
			a.Value = remote.ufrag
		case "ice-pwd":
			a.Value = remote.pwd
		case "candidate":
			continue
		}
		attributes = append(attributes, a)
	}
	for _, c := range remote.candidates {
		attributes = append(attributes, sdp.NewAttribute("candidate", strings.TrimPrefix(c, "candidate:")))
	}
	d.MediaDescriptions[0].Attributes = attributes
	text, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(text)}); err != nil {
		t.Fatal(err)
	}
	// Packets go on over the new pair: the old credentials' connections are gone.
	before := s.Stats().Streams[0].Packets
	eventually(t, "packets after the restart", 5*time.Second, func() bool {
		return s.Stats().Streams[0].Packets > before+50 && pc.ConnectionState() == webrtc.PeerConnectionStateConnected
	})
}

func TestWHEPOptionsAndCORS(t *testing.T) {
	_, _, web := testServer(t, func(c *Config) { c.Origins = []string{"https://wall.example"} })
	for path, header := range map[string]string{endpoint: "Accept-Post", endpoint + "/x": "Accept-Patch"} {
		res, _ := request(t, "OPTIONS", web.URL+path, "", "", map[string]string{"Origin": "https://wall.example"})
		if res.StatusCode != 200 || res.Header.Get(header) == "" || res.Header.Get("Access-Control-Allow-Origin") != "https://wall.example" ||
			!strings.Contains(res.Header.Get("Access-Control-Allow-Headers"), "If-Match") {
			t.Errorf("%s: %s %v", path, res.Status, res.Header)
		}
		res, _ = request(t, "OPTIONS", web.URL+path, "", "", map[string]string{"Origin": "https://evil.example"})
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("other origin: %q", got)
		}
	}
}

func TestFull(t *testing.T) {
	s, _, web := testServer(t, func(c *Config) { c.MaxViewers = 2 })
	first := watch(t, web.URL, clientOptions{})
	watch(t, web.URL, clientOptions{})
	post := func() (*http.Response, string) {
		return request(t, "POST", web.URL+endpoint, typeSDP, offerOf(t, newPeer(t, clientOptions{}), false), nil)
	}
	res, body := post()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	problemOf(t, res, body)
	if s.Stats().Refused != 1 {
		t.Errorf("stats %+v", s.Stats())
	}
	request(t, "DELETE", web.URL+first.session, "", "", nil)
	eventually(t, "a free place", 5*time.Second, func() bool { res, _ := post(); return res.StatusCode == http.StatusCreated })
}

// TestChooseCodec takes offers whose payload types come in other orders.
func TestChooseCodec(t *testing.T) {
	section := func(formats string, attributes ...string) *sdp.MediaDescription {
		m := &sdp.MediaDescription{MediaName: sdp.MediaName{Media: "video", Formats: strings.Fields(formats)}}
		for _, a := range attributes {
			k, v, _ := strings.Cut(a, ":")
			m.Attributes = append(m.Attributes, sdp.NewAttribute(k, v))
		}
		return m
	}
	for _, tc := range []struct {
		name  string
		m     *sdp.MediaDescription
		codec Codec
		pt    uint8
	}{
		{"VP8 first", section("96 97", "rtpmap:96 VP8/90000", "rtpmap:97 H264/90000", "fmtp:97 packetization-mode=1;profile-level-id=42e01f"), H264, 97},
		{"constrained baseline after high", section("1 2", "rtpmap:1 H264/90000", "fmtp:1 profile-level-id=640c1f;packetization-mode=1",
			"rtpmap:2 H264/90000", "fmtp:2 profile-level-id=42e01f; packetization-mode=1"), H264, 2},
		{"mode 0 is not for us", section("1 2", "rtpmap:1 H264/90000", "fmtp:1 packetization-mode=0;profile-level-id=42e01f", "rtpmap:2 VP8/90000"), VP8, 2},
		{"no fmtp is mode 0", section("1", "rtpmap:1 H264/90000"), 0, 0},
		{"first of equals", section("3 4", "rtpmap:3 VP8/90000", "rtpmap:4 VP8/90000"), VP8, 3},
		{"lower case", section("3", "rtpmap:3 vp8/90000"), VP8, 3},
		{"a type that is RTCP's", section("72", "rtpmap:72 VP8/90000"), 0, 0},
	} {
		o := &offer{}
		p := o.chooseCodec(tc.m)
		if (p != nil) != (tc.codec == 0) || o.codec != tc.codec || o.payloadType != tc.pt {
			t.Errorf("%s: %v %d, %+v", tc.name, o.codec, o.payloadType, p)
		}
	}
}

// FuzzOffer feeds the offer's road up to the WebRTC stack: no panic, and what is
// accepted composes to an offer that parses to the same again. Offers are long:
// give -fuzzminimizetime 1x, or minimizing takes all the time.
func FuzzOffer(f *testing.F) {
	for _, name := range []string{"chromium.sdp", "firefox.sdp"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzOffer(t, b, true)
		fuzzOffer(t, b, false)
	})
}

func fuzzOffer(t *testing.T, b []byte, publishes bool) {
	o, p := parseOffer(b, publishes)
	if p != nil {
		if p.Status != 400 && p.Status != 406 || p.Detail == "" {
			t.Fatalf("problem %+v", p)
		}
		return
	}
	again, p := parseOffer([]byte(o.compose(o.ice, 1)), publishes)
	if p != nil {
		t.Fatalf("own offer refused: %+v\n%s", p, o.compose(o.ice, 1))
	}
	if again.codec != o.codec || again.payloadType != o.payloadType || again.fmtp != o.fmtp || again.fingerprint != o.fingerprint {
		t.Fatalf("%+v became %+v", o, again)
	}
	if again.ssrc != o.ssrc || again.arrivals != o.arrivals {
		t.Fatalf("%+v became %+v", o, again)
	}
}

func FuzzFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, prob := parseFragment(b)
		if prob != nil {
			return
		}
		if p.ufrag == "" {
			return
		}
		again, prob := parseFragment([]byte(formatFragment(p, "0")))
		if prob != nil || again.ufrag != p.ufrag || again.pwd != p.pwd || len(again.candidates) != len(p.candidates) {
			t.Fatalf("%+v became %+v, %+v", p, again, prob)
		}
	})
}
