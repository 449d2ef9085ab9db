package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cam is a valid camera, for the tests of one line behind it.
const cam = "cameras:\n- id: a\n  source: rtsp://u:hunter2@h/s\n  "

func TestEveryErrorHasItsPlaceAndAdvice(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "lisen: ':80'\n", `f:1:1: lisen: unknown key "lisen"; did you mean "listen"?`},
		{"unknown key inside", cam + "treshold: 0.5\n", `f:4:3: cameras[0].treshold: unknown key "treshold"; did you mean "threshold"?`},
		{"dash for underscore", cam + "max-fps: 5\n", `f:4:3: cameras[0].max-fps: unknown key "max-fps"; did you mean "max_fps"?`},
		{"swapped letters", "wbertc: {}\n", `f:1:1: wbertc: unknown key "wbertc"; did you mean "webrtc"?`},
		{"key of elsewhere", "password_file: x\n", `f:1:1: password_file: unknown key "password_file"; it belongs at auth.password_file`},
		{"key like nothing", "log: {colour: red}\n", `f:1:7: log.colour: unknown key "colour"; the keys here are level, format`},
		{"misspelt needed key is not missing, too", "cameras:\n- id: a\n  sourc: rtsp://u:hunter2@h\n", `f:3:3: cameras[0].sourc: unknown key "sourc"; did you mean "source"?`},
		{"key twice", "log: {level: info}\nlog: {level: warn}\n", `f:2:1: log: key "log" is given twice, first in line 1; keep one of them`},

		{"text for number", cam + "threshold: high\n", `f:4:14: cameras[0].threshold: wants a number, found "high"`},
		{"percent", cam + "threshold: 35%\n", `f:4:14: cameras[0].threshold: wants a number, found "35%"; write 0.35`},
		{"decimal comma", cam + "threshold: 0,35\n", `f:4:14: cameras[0].threshold: wants a number, found "0,35"; write it without quotes, with a point`},
		{"infinity", cam + "max_fps: .inf\n", `f:4:12: cameras[0].max_fps: wants a number, found ".inf"`},
		{"list for number", cam + "max_fps: [1]\n", `f:4:12: cameras[0].max_fps: wants a number, found a list`},
		{"fraction for whole", "webrtc: {max_viewers: 1.5}\n", `f:1:23: webrtc.max_viewers: wants a whole number, found "1.5"`},
		{"huge whole", "webrtc: {max_viewers: 99999999999999999999}\n", `f:1:23: webrtc.max_viewers: wants a whole number, found "99999999999999999999"`},
		{"quoted whole", "webrtc: {max_viewers: '5'}\n", `f:1:23: webrtc.max_viewers: wants a whole number, found "5"; leave the quotes out`},
		{"yes for true", cam + "motion_gate: yes\n", `f:4:16: cameras[0].motion_gate: wants true or false, found "yes"; write true`},
		{"number for text", cam + "name: 12\n", `f:4:9: cameras[0].name: wants text, found "12"; put it in quotes: "12"`},
		{"mapping for text", cam + "name: {a: 1}\n", `f:4:9: cameras[0].name: wants one text, found keys with values`},
		{"text for mapping", "log: debug\n", `f:1:6: log: wants keys with values, found text; write KEY: VALUE on lines of their own, indented`},
		{"mapping for list", "cameras:\n  id: a\n", `f:2:3: cameras: wants a list, found keys with values; begin every entry with a dash`},
		{"text for list", cam + "classes: person\n", `f:4:12: cameras[0].classes: wants a list, found text; write [VALUE, VALUE], or every entry on a line of its own behind a dash`},
		{"text for camera", "cameras:\n- rtsp://u:hunter2@h/s\n", `f:2:3: cameras[0]: wants keys with values, found text; write KEY: VALUE on lines of their own, indented`},
		{"empty entry", "cameras:\n-\n", `f:2:3: cameras[0]: this entry of the list is empty; fill it in, or take the dash away`},
		{"list as file", "- a\n", `f:1:1: wants keys with values, found a list; write KEY: VALUE on lines of their own, indented`},

		{"time without unit", cam + "stall_after: 5\n", `f:4:16: cameras[0].stall_after: wants a time with its unit, found "5"; write 5s for seconds`},
		{"time of nonsense", cam + "stall_after: soon\n", `f:4:16: cameras[0].stall_after: wants a time with its unit, found "soon"; write it as 500ms, 10s or 2m`},
		{"time out of range", cam + "stall_after: 5ms\n", `f:4:16: cameras[0].stall_after: 5ms is out of range; take a value from 1s to 10m`},
		{"bitrate unit", cam + "picture: {bitrate: 2MB}\n", `f:4:22: cameras[0].picture.bitrate: wants a bitrate, found "2MB"; write bits per second as a number, or 800kbit, 2Mbit`},
		{"bitrate in kilobits", cam + "picture: {bitrate: 2000}\n", `f:4:22: cameras[0].picture.bitrate: 2000 bit/s is too little for a picture; take 50kbit or more, or 0 for automatic; it counts bits, not kilobits: 2000kbit?`},
		{"threshold in percent", cam + "threshold: 35\n", `f:4:14: cameras[0].threshold: 35 is out of range; take a value from 0 to 1: 0.35?`},
		{"negative", cam + "max_fps: -1\n", `f:4:12: cameras[0].max_fps: -1 is out of range; take a value from 0 to 240`},
		{"tiny picture", cam + "picture:\n    max_height: 2\n", `f:5:17: cameras[0].picture.max_height: 2 is too small to see anything; take 64 or more, or 0 for the picture as it comes`},

		{"enum", "log: {level: warning}\n", `f:1:14: log.level: "warning" is not a value of level; did you mean "warn"?`},
		{"enum like nothing", "log: {format: xml}\n", `f:1:15: log.format: "xml" is not a value of format; write text or json`},
		{"unknown boxes", cam + "boxes: drawn\n", `f:4:10: cameras[0].boxes: "drawn" is not a value of boxes; write burned or client`},
		{"empty optional enum", cam + "transport: sctp\n", `f:4:14: cameras[0].transport: "sctp" is not a value of transport; write tcp or udp`},
		{"demo without quotes", "cameras:\n- id: a\n  source: demo:\n", `f:3:11: this is not YAML: mapping value is not allowed in this context; put it in quotes, since it ends with a colon: "demo:"`},
		{"bad id", "cameras:\n- id: Front Door\n  source: 'demo:'\n", `f:2:7: cameras[0].id: "Front Door" is not a valid id; use a-z, 0-9, - and _, at most 64: "front-door"`},
		{"id twice", "cameras:\n- {id: a, source: 'demo:'}\n- {id: a, source: 'demo:'}\n", `f:3:8: cameras[1].id: id "a" is used already, by cameras[0]; take another one, such as "a-2"`},
		{"id missing", "cameras:\n- source: 'demo:'\n", `f:2:3: cameras[0].id: id is missing; add id: front`},
		{"source missing", "cameras:\n- name: x\n  id: a\n", `f:2:3: cameras[0].source: source is missing; add source: rtsp://USER:PASSWORD@HOST/PATH`},
		{"model of odd letters", "models: {default: ../up}\n", `f:1:19: models.default: "../up" is not a valid default; use letters, digits, dots, dashes and underscores, a letter or digit first, at most 128`},
		{"unprintable", cam + "name: \"a\\u0007b\"\n", `f:4:9: cameras[0].name: "a\ab" holds a character that cannot be printed; remove U+0007`},
		{"spaces around", cam + "name: ' a'\n", `f:4:9: cameras[0].name: " a" begins or ends with a space; remove it`},

		{"port alone", "listen: '8080'\n", `f:1:9: listen: "8080" is not HOST:PORT; write ":8080"`},
		{"host alone", "listen: 10.0.0.1\n", `f:1:9: listen: "10.0.0.1" has no port; write "10.0.0.1:8080"`},
		{"port too large", "listen: ':80800'\n", `f:1:9: listen: ":80800" has no valid port; a port is a number from 0 (any free one) to 65535`},
		{"mistyped address", "listen: '300.0.0.1:80'\n", `f:1:9: listen: "300.0.0.1:80" has no valid host; use an IP address or a host name, or leave it out for all addresses`},
		{"media host alone", "webrtc: {listen: '::1'}\n", `f:1:18: webrtc.listen: "::1" has no port; write "[::1]:8555"`},
		{"one port twice", "webrtc: {listen: ':8080'}\n", `f:1:18: webrtc.listen: listen and webrtc.listen both want the TCP port 8080; take another port, such as 8555`},
		{"the media port taken", "listen: 0.0.0.0:8555\n", `f:1:9: listen: listen and webrtc.listen both want the TCP port 8555; take another port, such as 8080, or set webrtc.listen`},
		{"public with port", "webrtc:\n  public_addresses:\n  - 1.2.3.4:80\n", `f:3:5: webrtc.public_addresses[0]: "1.2.3.4:80" is no address; write "1.2.3.4"; the port is that of webrtc.listen`},
		{"ice scheme", "webrtc: {ice_servers: [{urls: ['stnu:h']}]}\n", `f:1:32: webrtc.ice_servers[0].urls[0]: "stnu:h" is not a STUN or TURN address; did you mean "stun:"?`},
		{"ice slashes", "webrtc: {ice_servers: [{urls: ['stun://h']}]}\n", `f:1:32: webrtc.ice_servers[0].urls[0]: "stun://h" has slashes behind its scheme; write "stun:h"`},
		{"ice without urls", "webrtc: {ice_servers: [{username: x}]}\n", `f:1:24: webrtc.ice_servers[0].urls: urls is missing; add urls: [stun:HOST:3478]`},
		{"turn without credential", "webrtc: {ice_servers: [{urls: ['turn:h'], username: x}]}\n", `f:1:24: webrtc.ice_servers[0].credential: credential is missing, a TURN server needs it; add it, as the server's operator gave it`},
		{"ice credential of wrong type", "webrtc: {ice_servers: [{urls: ['turn:h'], username: x, credential: 4711}]}\n", `f:1:68: webrtc.ice_servers[0].credential: wants text, found a number; put it in quotes`},

		{"scheme misspelt", "cameras:\n- {id: a, source: 'rstp://u:hunter2@h/s'}\n", `f:2:19: cameras[0].source: "rstp://" is not a kind of source; did you mean "rtsp://"?`},
		{"scheme not served", "cameras:\n- {id: a, source: 'srt://u:hunter2@h/s'}\n", `f:2:19: cameras[0].source: "srt://" is not a kind of source; a source is rtsp://…, http://… (MJPEG), a file's path, /dev/videoN, whip:, test:PATTERN or demo:`},
		{"whip with an address", "cameras:\n- {id: a, source: 'whip:b'}\n", `f:2:19: cameras[0].source: "whip:b" has something behind whip:; write "whip:"; publishers send to /api/v1/whip/ID with the camera's id`},
		{"http without host", "cameras:\n- {id: a, source: 'http:///s'}\n", `f:2:19: cameras[0].source: the http address has no host; write http://USER:PASSWORD@HOST/PATH`},
		{"file scheme", "cameras:\n- {id: a, source: 'file:///v/a.mp4'}\n", `f:2:19: cameras[0].source: file:// is not a source; write the path itself: "/v/a.mp4"`},
		{"rtsp without host", "cameras:\n- {id: a, source: 'rtsp:///s'}\n", `f:2:19: cameras[0].source: the rtsp address has no host; write rtsp://USER:PASSWORD@HOST/PATH`},
		{"rtsp bad escape", "cameras:\n- {id: a, source: 'rtsp://u:hunter2%zz@h/s'}\n", `f:2:19: cameras[0].source: the rtsp address cannot be read; in user names and passwords write special characters as %40 (@), %2F (/), %3A (:), %23 (#), %25 (%)`},
		{"rtsp port", "cameras:\n- {id: a, source: 'rtsp://u:hunter2@h:0/s'}\n", `f:2:19: cameras[0].source: the rtsp address has no valid port; a port is a number from 1 to 65535; the usual one is 554`},
		{"slashes forgotten", "cameras:\n- {id: a, source: 'rtsp:u:hunter2@h/s'}\n", `f:2:19: cameras[0].source: an rtsp source begins with rtsp://; write "rtsp://***@h/s"`},
		{"pattern", "cameras:\n- {id: a, source: 'test:smtpe'}\n", `f:2:19: cameras[0].source: there is no test pattern "smtpe"; did you mean "test:smpte"?`},
		{"other device", "cameras:\n- {id: a, source: /dev/sda}\n", `f:2:19: cameras[0].source: "/dev/sda" is not a camera's device; the devices of cameras are /dev/video0, /dev/video1, …`},
		{"demo without colon", "cameras:\n- {id: a, source: demo}\n", `f:2:19: cameras[0].source: "demo" would be a file of that name; write "demo:" for the scene that the box draws, or "./demo" for the file`},
		{"folder", "cameras:\n- {id: a, source: /videos/}\n", `f:2:19: cameras[0].source: "/videos/" is a folder; name a video file`},
		{"transport of a file", "cameras:\n- {id: a, source: a.mp4, transport: udp}\n", `f:2:37: cameras[0].transport: transport is for rtsp:// sources only; take it away`},
		{"capture of rtsp", cam + "capture: {fps: 5}\n", `f:4:12: cameras[0].capture: capture is for /dev/videoN and test: sources only; take it away; picture.max_height scales the picture down`},
		{"half a size", "cameras:\n- {id: a, source: 'test:ball', capture: {width: 640}}\n", `f:2:41: cameras[0].capture: width and height go together; give both, or neither`},
		{"trace below warn", "health: {stall_warn: 100ms, stall_trace: 50ms}\n", `f:1:42: health.stall_trace: 50ms is less than stall_warn, 100ms; make it longer, or 0 for no traces`},

		{"anchor", "log: &x {level: info}\n", `f:1:6: log: anchors and aliases are not read here; write the value out where it is used`},
		{"tag", "listen: !!str x\n", `f:1:9: listen: YAML tags are not read here; write the plain value, in quotes where it is text`},
		{"two documents", "log: {}\n---\nlog: {}\n", `f:3:1: a second document begins here; keep one document: remove the line ---`},
		{"tab", "log:\n\tlevel: info\n", `f:2:1: a tab is used as indentation; indent with spaces`},
		{"not text", "listen: \xff\n", `f:1:9: the file is not UTF-8 text; save it as UTF-8`},
		{"control character", "listen: \x00\n", `f:1:9: the file holds the control character 0x00; remove it`},
		{"deep", "log: " + strings.Repeat("[", 70), `f:1:70: the nesting is too deep; no key of this file needs that`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.text))
			var errs *Errors
			if !errors.As(err, &errs) {
				t.Fatalf("error %v of type %T, want *Errors", err, err)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4711") {
				t.Errorf("a secret is in the error: %s", err)
			}
		})
	}
}

func TestSyntaxErrorsHaveTheirPlaceAndNoSecrets(t *testing.T) {
	for _, tt := range []struct {
		text string
		line int
	}{
		{"listen: 'x\ncameras:\n- source: rtsp://u:hunter2@h\n", 1},
		{"log: {level: info\n", 1},
		{"cameras:\n- id: a\n  source: rtsp://u:hunter2@h: x\n", 3},
		{"cameras:\n- id: a\n source: rtsp://u:hunter2@h\n", 3},
		{"cameras: [a, b\n", 1},
		{"log:\n  level: info\n format: json\n", 3},
		{"a\nb: hunter2\n", 1},
		{"%YAML 9\n---\nhunter2: {", 1},
		{"log: *hunter2\n", 1},
	} {
		_, err := Parse("f", []byte(tt.text))
		var errs *Errors
		if !errors.As(err, &errs) {
			t.Errorf("%q: error %v, want *Errors", tt.text, err)
			continue
		}
		if e := errs.Entries[0]; e.Line != tt.line || e.Column < 1 || e.Suggestion == "" {
			t.Errorf("%q: %s", tt.text, e)
		}
		if strings.Contains(err.Error(), "rtsp://u:hunter2") {
			t.Errorf("%q: the secret is in the error: %s", tt.text, err)
		}
	}
}

func TestAllProblemsAreReportedInOrder(t *testing.T) {
	text := `listen: nowhere
log: {level: loud}
cameras:
  - id: A
    sorce: x.mp4
    threshold: x
  - id: b
    source: test:nothing-like-it
    picture: {bitrate: 1, keyframe_interval: 9}
extra: 1
`
	_, err := Parse("f", []byte(text))
	var errs *Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range errs.Entries {
		got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Path))
	}
	want := "1:9 listen|2:14 log.level|4:9 cameras[0].id|5:5 cameras[0].sorce|6:16 cameras[0].threshold|" +
		"8:13 cameras[1].source|9:24 cameras[1].picture.bitrate|9:46 cameras[1].picture.keyframe_interval|10:1 extra"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("\n got %s\nwant %s\n%v", s, want, err)
	}
}

func TestLongErrorIsCut(t *testing.T) {
	_, err := Parse("f", []byte(strings.Repeat("x: 1\n", 1)+strings.Repeat("log: 1\n", 100)))
	var errs *Errors
	if !errors.As(err, &errs) || len(errs.Entries) != 101 {
		t.Fatalf("%v", err)
	}
	if n := strings.Count(err.Error(), "\n"); n != maxShown {
		t.Errorf("%d lines", n+1)
	}
}

func TestHostileSizes(t *testing.T) {
	for name, text := range map[string]string{
		"large":       strings.Repeat("# x\n", maxSize/4+1),
		"dashes":      strings.Repeat("- ", 10000) + "a",
		"brackets":    "log: " + strings.Repeat("[", 100000),
		"indentation": strings.Repeat(" ", 5000) + "a: 1",
		"inline maps": strings.Repeat("a: ", 10000),
	} {
		if _, err := Parse("f", []byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
