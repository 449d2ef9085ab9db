package mjpeg

import (
	"crypto/md5" //nolint:gosec // what most cameras ask for
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// challenge is one way to sign in that a server offers in WWW-Authenticate (RFC 9110
// clause 11.6.1).
type challenge struct {
	scheme string // in lower case
	params map[string]string
}

// challenges reads the values of WWW-Authenticate: each may hold several, parted by
// the commas that part their parameters, too.
func challenges(values []string) []challenge {
	var list []challenge
	for _, v := range values {
		for {
			v = strings.TrimLeft(v, " \t,")
			if v == "" {
				break
			}
			name, rest := token(v)
			if name == "" {
				v = v[1:]
				continue
			}
			after := strings.TrimLeft(rest, " \t")
			if !strings.HasPrefix(after, "=") {
				list = append(list, challenge{scheme: strings.ToLower(name), params: map[string]string{}})
				v = rest
				continue
			}
			var value string
			value, v = parameter(strings.TrimLeft(after[1:], " \t"))
			if len(list) > 0 {
				list[len(list)-1].params[strings.ToLower(name)] = value
			}
		}
	}
	return list
}

// token cuts a name off the front.
func token(s string) (name, rest string) {
	end := strings.IndexAny(s, " \t,=\"")
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// parameter cuts a value off the front: a token, or a quoted string.
func parameter(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		return token(s)
	}
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String(), ""
}

// algorithms of Digest, best first (RFC 7616 clause 3.3); those with -sess, too.
var algorithms = []struct {
	name string
	hash func() hash.Hash
}{
	{"SHA-256", sha256.New},
	{"MD5", md5.New},
}

// authorization answers the best of the challenges for a GET of uri; ok is false if
// there is none that can be answered.
func authorization(list []challenge, user, password, uri string) (header string, ok bool) {
	for _, a := range algorithms {
		for _, c := range list {
			name, session := strings.CutSuffix(strings.ToUpper(c.params["algorithm"]), "-SESS")
			if name == "" {
				name = "MD5" // RFC 2617 clause 3.2.1
			}
			if c.scheme == "digest" && name == a.name && c.params["nonce"] != "" {
				return digest(c, a.hash, session, user, password, uri)
			}
		}
	}
	return "", slices.ContainsFunc(list, func(c challenge) bool { return c.scheme == "basic" })
}

// digest is the header for a challenge (RFC 7616 clause 3.4; without qop, RFC 2069).
func digest(c challenge, kind func() hash.Hash, session bool, user, password, uri string) (string, bool) {
	sum := func(text string) string {
		h := kind()
		h.Write([]byte(text)) // never fails
		return hex.EncodeToString(h.Sum(nil))
	}
	realm, nonce := c.params["realm"], c.params["nonce"]
	qop := ""
	for _, q := range strings.Split(c.params["qop"], ",") {
		if q = strings.ToLower(strings.TrimSpace(q)); q == "auth" || q == "auth-int" && qop == "" {
			qop = q
		}
	}
	if qop == "" && strings.TrimSpace(c.params["qop"]) != "" {
		return "", false
	}
	const count = "00000001" // every nonce is used once
	cnonce := rand.Text()
	a1, a2 := sum(user+":"+realm+":"+password), "GET:"+uri
	if session {
		a1 = sum(a1 + ":" + nonce + ":" + cnonce)
	}
	if qop == "auth-int" {
		a2 += ":" + sum("") // a GET has no body
	}
	response := a1 + ":" + nonce + ":" + sum(a2)
	if qop != "" {
		response = a1 + ":" + nonce + ":" + count + ":" + cnonce + ":" + qop + ":" + sum(a2)
	}
	name := user
	hashed := strings.EqualFold(c.params["userhash"], "true")
	if hashed {
		name = sum(user + ":" + realm)
	}
	var h strings.Builder
	fmt.Fprintf(&h, "Digest username=%s, realm=%s, nonce=%s, uri=%s, response=%q",
		quoted(name), quoted(realm), quoted(nonce), quoted(uri), sum(response))
	if a := c.params["algorithm"]; a != "" {
		fmt.Fprintf(&h, ", algorithm=%s", a)
	}
	if o, ok := c.params["opaque"]; ok {
		fmt.Fprintf(&h, ", opaque=%s", quoted(o))
	}
	if qop != "" {
		fmt.Fprintf(&h, ", qop=%s, nc=%s, cnonce=%q", qop, count, cnonce)
	} else if session {
		fmt.Fprintf(&h, ", cnonce=%q", cnonce)
	}
	if hashed {
		h.WriteString(", userhash=true")
	}
	return h.String(), true
}

// quoted is a quoted string (RFC 9110 clause 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
