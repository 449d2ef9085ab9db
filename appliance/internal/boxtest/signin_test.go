package boxtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/live/viewer"
)

// TestRTSPSignIn has a wrong password refused in words, a right one taken by
// Digest and by Basic, UDP used where it is asked for or the only way; and no
// password shown anywhere.
func TestRTSPSignIn(t *testing.T) {
	const user, right, wrong = "guard", "s3cret-r1ght", "s3cret-wr0ng"
	c := clip(t, 320, 240)
	digest := rtspCamera(t, c, RTSPConfig{User: user, Password: right})
	basic := rtspCamera(t, c, RTSPConfig{User: user, Password: right, Basic: true})
	udp := rtspCamera(t, c, RTSPConfig{})
	udpOnly := rtspCamera(t, c, RTSPConfig{UDPOnly: true})
	b := start(t, fmt.Sprintf(`
log: {level: debug}
models: {default: motion}
cameras:
  - {id: wrong, source: "%s"}
  - {id: none, source: "%s"}
  - {id: digest, source: "%s"}
  - {id: basic, source: "%s"}
  - {id: udp, source: "%s", transport: udp}
  - {id: either, source: "%s"}
`, digest.URL(user, wrong), digest.URL("", ""), digest.URL(user, right), basic.URL(user, right), udp.URL("", ""), udpOnly.URL("", "")))

	v := watch(t, b, "udp", viewer.Options{})
	for _, id := range []string{"digest", "basic", "udp", "either"} {
		await(t, b, id, 40*time.Second, "plays", playing)
	}
	if !udp.OverUDP() || !udpOnly.OverUDP() {
		t.Errorf("over UDP: %t where it was asked for, %t where it is the only way", udp.OverUDP(), udpOnly.OverUDP())
	}
	more(t, v, 30, 20*time.Second, "pictures that came by UDP")
	for _, id := range []string{"wrong", "none"} {
		cam := await(t, b, id, 20*time.Second, "is offline", func(c Camera) bool { return c.State == "offline" })
		if !strings.Contains(cam.Reason, "refused the sign-in") {
			t.Errorf("%s: the reason is %q", id, cam.Reason)
		}
		t.Logf("%s: %s", id, cam.Reason)
	}
	// Cameras lock an account after some wrong passwords: the box must not go on
	// trying every few seconds.
	if n := digest.Refused(); n > 20 {
		t.Errorf("the camera was asked %d times without the right password", n)
	}

	shown := []string{b.Log(), b.Printed()}
	for _, path := range []string{
		"/api/v1/cameras", "/api/v1/cameras/wrong", "/api/v1/cameras/digest", "/api/v1/hardware", "/api/v1/models", "/api/v1/system",
		"/metrics", "/healthz", "/readyz", "/", "/cameras/wrong",
	} {
		var text []byte
		if err := b.Get(t.Context(), path, &text); err != nil {
			t.Error(err)
		}
		shown = append(shown, string(text))
	}
	for _, pid := range b.Processes() {
		shown = append(shown, commandLine(pid))
	}
	for i, text := range shown {
		for _, secret := range []string{wrong, right} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("a password is shown (%d): …%s…", i, text[max(0, at-200):min(len(text), at+50)])
			}
		}
	}
}

// TestFrontDoor has an address that is not loopback: a stranger is asked for the
// password that the box made for itself, the box's own operator is not.
func TestFrontDoor(t *testing.T) {
	b := startIn(t, Config{Dir: t.TempDir(), Listen: "0.0.0.0:0", YAML: "cameras:\n  - {id: yard, source: 'test:smpte', model: motion}\n"})
	// What was printed names this machine; the test stays on loopback.
	b.URL = "http://127.0.0.1" + b.URL[strings.LastIndexByte(b.URL, ':'):]
	for end := time.Now().Add(2 * time.Second); !strings.Contains(b.Printed(), filepath.Join(b.Data, "password")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not said where the password is:\n%s", b.Printed())
		}
	}
	text, err := os.ReadFile(filepath.Join(b.Data, "password"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(b.Data, "password")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v %v", info.Mode(), err)
	}
	password := strings.TrimSpace(string(text))
	const stranger = "box.example"
	for _, c := range []struct {
		path, host, token string
		want              int
	}{
		{"/api/v1/cameras", "", "", http.StatusOK},
		{"/api/v1/cameras", stranger, "", http.StatusUnauthorized},
		{"/api/v1/cameras", stranger, "wrong", http.StatusUnauthorized},
		{"/api/v1/cameras", stranger, password, http.StatusOK},
		{"/metrics", stranger, "", http.StatusUnauthorized},
		{"/metrics", stranger, password, http.StatusOK},
		{"/api/v1/nothing", stranger, "", http.StatusUnauthorized},
		{"/healthz", stranger, "", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("GET %s as %q with %q: %s, want %d", c.path, c.host, c.token, res.Status, c.want)
		}
	}
	if strings.Contains(b.Log()+b.Printed(), password) {
		t.Error("the password is in the log")
	}
}
