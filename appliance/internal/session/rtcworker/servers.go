package rtcworker

import (
	"encoding/json"
	"strings"
)

// decodeServers takes the ICE servers from webrtc_config, or from its older form.
func (r *request) decodeServers(config, turn json.RawMessage) error {
	const expected = `a list of objects {"urls", "username", "credential"}`
	name, list := "webrtc_config.iceServers", []json.RawMessage(nil)
	if !absent(config) {
		var c struct {
			Servers json.RawMessage `json:"iceServers"`
		}
		if err := field(config, "webrtc_config", `an object {"iceServers":[…]}`, &c); err != nil {
			return err
		}
		if err := field(c.Servers, name, expected, &list); err != nil {
			return err
		}
	} else if !absent(turn) {
		name = "webrtc_turn_config"
		list = []json.RawMessage{turn}
		if turn[0] == '[' {
			if err := field(turn, name, expected, &list); err != nil {
				return err
			}
		}
	}
	for _, raw := range list {
		if absent(raw) {
			continue
		}
		s, err := decodeServer(name, raw)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, s)
	}
	urls := 0
	for _, s := range r.servers {
		urls += len(s.URLs)
	}
	if urls > maxServers {
		return wrong(name, expected, "%d servers are named, the most is %d", urls, maxServers)
	}
	return nil
}

func decodeServer(name string, raw json.RawMessage) (s ICEServer, err error) {
	var w struct {
		URLs       json.RawMessage `json:"urls"`
		Username   json.RawMessage `json:"username"`
		Credential json.RawMessage `json:"credential"`
	}
	if err := field(raw, name, `an object {"urls", "username", "credential"}`, &w); err != nil {
		return s, err
	}
	for _, err := range []error{
		field(w.Username, name+".username", "a string", &s.Username),
		field(w.Credential, name+".credential", "a string", &s.Credential),
	} {
		if err != nil {
			return s, err
		}
	}
	const expected = "a URL of stun:, stuns:, turn: or turns:, or a list of such"
	if absent(w.URLs) {
		return s, wrong(name+".urls", expected, "a server without an address")
	}
	if w.URLs[0] == '"' {
		s.URLs = make([]string, 1)
		err = field(w.URLs, name+".urls", expected, &s.URLs[0])
	} else {
		err = field(w.URLs, name+".urls", expected, &s.URLs)
	}
	if err != nil {
		return s, err
	}
	for _, u := range s.URLs {
		scheme, _, ok := strings.Cut(u, ":")
		switch strings.ToLower(scheme) {
		case "stun", "stuns":
		case "turn", "turns":
			if s.Username == "" || s.Credential == "" {
				return s, wrong(name, "username and credential", "a TURN server needs a username and a credential")
			}
		default:
			ok = false
		}
		if !ok || len(u) > maxName {
			return s, wrong(name+".urls", expected, "%q is no address of a STUN or TURN server", printable(u))
		}
	}
	return s, nil
}
