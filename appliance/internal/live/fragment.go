package live

import (
	"fmt"
	"net/http"
	"strings"
)

// maxFragment is the largest SDP fragment taken, in bytes.
const maxFragment = 32 << 10

// parseFragment reads an application/trickle-ice-sdpfrag (RFC 8840 section 4.4).
// Credentials are empty when it has none. Several sections have to be of one
// bundle and thus of the same credentials.
func parseFragment(body []byte) (p iceParameters, prob *problem) {
	for n, line := range strings.Split(string(body), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		kind, value, ok := strings.Cut(line, "=")
		if !ok || len(kind) != 1 {
			return p, badFragment("line %d is not of the form x=…", n+1)
		}
		if kind != "a" {
			continue // m= and c= lines are pseudo lines here
		}
		key, value, _ := strings.Cut(value, ":")
		switch key {
		case "ice-ufrag":
			if !ufragPattern.MatchString(value) || p.ufrag != "" && p.ufrag != value {
				return p, badFragment("line %d has no valid a=ice-ufrag, or another one than before", n+1)
			}
			p.ufrag = value
		case "ice-pwd":
			if !pwdPattern.MatchString(value) || p.pwd != "" && p.pwd != value {
				return p, badFragment("line %d has no valid a=ice-pwd, or another one than before", n+1)
			}
			p.pwd = value
		case "candidate":
			c := "candidate:" + value
			if !candidatePattern.MatchString(c) {
				return p, badFragment("line %d is not a candidate", n+1)
			}
			if len(p.candidates) == maxCandidates {
				return p, badFragment("it has more than %d candidates", maxCandidates)
			}
			p.candidates = append(p.candidates, c)
		}
	}
	if (p.ufrag == "") != (p.pwd == "") {
		return p, badFragment("a=ice-ufrag and a=ice-pwd belong together")
	}
	return p, nil
}

// formatFragment writes our side after an ICE restart.
func formatFragment(p iceParameters, mid string) string {
	var b strings.Builder
	b.WriteString("a=ice-options:trickle\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\n")
	fmt.Fprintf(&b, "a=mid:%s\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", mid, p.ufrag, p.pwd)
	for _, c := range p.candidates {
		fmt.Fprintf(&b, "a=%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}

func badFragment(format string, args ...any) *problem {
	return &problem{Status: http.StatusBadRequest, Title: "The SDP fragment cannot be used",
		Detail: "The SDP fragment cannot be used: " + fmt.Sprintf(format, args...) + "."}
}
