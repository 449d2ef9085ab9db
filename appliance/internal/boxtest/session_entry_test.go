package boxtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// bothClients play the same scenario, one after the other.
var bothClients = map[string]func(*testing.T, *Box, scenario) facts{"aiortc": playAiortc, "pion": playPion}

// TestSessionsSignIn asks a box that is not on a loopback address only, with the
// password where the protocol has it.
func TestSessionsSignIn(t *testing.T) {
	t.Parallel()
	b := startIn(t, Config{Dir: t.TempDir(), Listen: "0.0.0.0:0", YAML: "models: {default: motion}\n" + quietCamera})
	b.URL = "http://127.0.0.1" + b.URL[strings.LastIndexByte(b.URL, ':'):]
	await(t, b, "cam", 20*time.Second, "plays", playing)
	text, err := os.ReadFile(filepath.Join(b.Data, "password"))
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(text))
	// By this header a request is somebody else's than the box's own user's.
	const forwarded = "X-Forwarded-For"
	for name, play := range bothClients {
		for _, c := range []struct {
			what, key, bearer string
			in                bool
		}{
			{what: "nothing"}, {what: "a wrong api_key", key: "wrong"}, {what: "a wrong token", bearer: "wrong"},
			{what: "an api_key", key: password, in: true}, {what: "a token", bearer: password, in: true},
		} {
			if name == "aiortc" && strings.Contains(c.what, "wrong") {
				continue // the other client's word will do
			}
			t.Run(name+"/"+c.what, func(t *testing.T) {
				t.Parallel()
				p := uploading(dataOnly(fromFile, ask("motion", nil)), media(t, "video/h265_video.mp4"), nil)
				p.Headers = map[string]string{forwarded: "192.0.2.9"}
				if c.key != "" {
					p.Request["api_key"] = c.key
				}
				if c.bearer != "" {
					p.Headers["Authorization"] = "Bearer " + c.bearer
				}
				f := play(t, b, p)
				if c.in {
					wellFormed(t, f)
					ended(t, f, "")
					return
				}
				if f.Refused == nil || f.Refused.Status != http.StatusUnauthorized || f.Refused.Message == "" {
					t.Errorf("%s: %+v", c.what, f.Refused)
				}
			})
		}
	}
	t.Cleanup(func() {
		if strings.Contains(b.Log(), password) {
			t.Error("the password is in the log")
		}
	})
}

// TestSessionsOfStoredWorkflows puts a workflow on the box and has sessions name it.
func TestSessionsOfStoredWorkflows(t *testing.T) {
	t.Parallel()
	b := start(t, "models: {default: motion}\n"+quietCamera)
	await(t, b, "cam", 20*time.Second, "plays", playing)
	put := func(name string, spec any) (status int, said string) {
		t.Helper()
		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.URL+"/api/v1/workflows/garden/"+name, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		all, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(all)
	}
	if status, said := put("moves", workflowOf("motion")["workflow_specification"]); status/100 != 2 {
		t.Fatalf("%d: %s", status, said)
	}
	if status, said := put("flies", workflowOf("yolox-giant")["workflow_specification"]); status/100 != 4 || !strings.Contains(said, "yolox-giant") {
		t.Errorf("%d: %s", status, said)
	}
	named := func(id string) map[string]any {
		return fields{"webrtc_realtime_processing": false, "data_output": []string{"*"}, "workflow_configuration": fields{
			"type": "WorkflowConfiguration", "image_input_name": "image", "workspace_name": "garden", "workflow_id": id}}
	}
	for name, play := range bothClients {
		t.Run(name, func(t *testing.T) {
			f := play(t, b, uploading(dataOnly(fromFile, named("moves")), media(t, "video/h265_video.mp4"), nil))
			wellFormed(t, f)
			ended(t, f, "")
			outputsAre(t, f.frames(), outFound, outTracked)
			f = play(t, b, uploading(dataOnly(fromFile, named("flies")), media(t, "video/h265_video.mp4"), nil))
			if r := f.Refused; r == nil || r.Status/100 != 4 || !strings.Contains(r.Field+r.Message, "flies") || !strings.Contains(strings.Join(r.Available, " "), "moves") {
				t.Errorf("a workflow that is not there: %s", mustJSON(t, f.Refused))
			}
		})
	}
}

// stunServer counts what it is asked and never answers.
func stunServer(t *testing.T) (address string, asked *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			if _, _, err := conn.ReadFrom(buf); err != nil {
				return
			}
			asked.Add(1)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().String(), asked
}

// TestSessionsAskServers names STUN and TURN servers that never answer, in both forms
// that the protocol has: the answer does not wait for them for long, and a box that
// is offline asks none.
func TestSessionsAskServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml    string
		offline bool
	}{"online": {"", false}, "offline": {"  offline: true\n", true}} {
		t.Run(name, func(t *testing.T) {
			// What the kit writes ends within the section webrtc.
			b := start(t, c.yaml+"models: {default: motion}\n"+quietCamera)
			await(t, b, "cam", 20*time.Second, "plays", playing)
			before := footprintOf(t, b)
			for client, play := range bothClients {
				stun, stunAsked := stunServer(t)
				turn, turnAsked := stunServer(t)
				server := fields{"urls": "turn:" + turn, "username": "me", "credential": "secret"}
				over := fields{"webrtc_config": fields{"iceServers": []fields{{"urls": []string{"stun:" + stun}}, server}}}
				if client == "pion" {
					over = fields{"webrtc_turn_config": server}
				}
				f := play(t, b, uploading(dataOnly(fromFile, ask("motion", over)), media(t, "video/h265_video.mp4"), nil))
				wellFormed(t, f)
				if f.AnsweredIn > 5 { // 2 s, and what a busy machine adds
					t.Errorf("%s: the answer took %.1f s", client, f.AnsweredIn)
				}
				ended(t, f, "")
				n, m := stunAsked.Load(), turnAsked.Load()
				t.Logf("%s: answered in %.2f s; STUN was asked %d times, TURN %d times", client, f.AnsweredIn, n, m)
				if c.offline && n+m > 0 || !c.offline && (m == 0 || client == "aiortc" && n == 0) {
					t.Errorf("%s: the STUN server was asked %d times, the TURN server %d times", client, n, m)
				}
			}
			before.again(t, b)
		})
	}
}
