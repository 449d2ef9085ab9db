package camera

import (
	"net/url"
	"regexp"
	"strings"
)

// scrubber takes a camera's credentials out of any text about it: whole URLs by
// the given redaction, and the password wherever else it turns up, as in a
// decoder's complaint.
type scrubber struct {
	source, shown string
	password      *strings.Replacer
	address       *regexp.Regexp // a word that may be one
	redact        func(string) string
}

func newScrubber(source string, redact func(string) string) scrubber {
	var pairs []string
	if u, err := url.Parse(source); err == nil && u.User != nil {
		// Shorter ones would blot out half of every text.
		if pw, _ := u.User.Password(); len(pw) >= 3 {
			pairs = append(pairs, u.User.String(), "***", pw, "***", url.QueryEscape(pw), "***", url.PathEscape(pw), "***")
		}
	}
	return scrubber{source: source, shown: redact(source), password: strings.NewReplacer(pairs...), redact: redact,
		address: regexp.MustCompile(`\S+(://|@)\S+`)}
}

// Scrub makes the function that takes a source's credentials out of any text about it, as
// a worker that plays it writes them on stderr. redact is for whole URLs.
func Scrub(source string, redact func(string) string) func(string) string {
	return newScrubber(source, redact).clean
}

func (s scrubber) clean(text string) string {
	if s.source != "" {
		text = strings.ReplaceAll(text, s.source, s.shown)
	}
	// Word by word: what is a query in a URL is prose in a sentence.
	return s.password.Replace(s.address.ReplaceAllStringFunc(text, s.redact))
}

// line makes one bounded line of what a worker said.
func (s scrubber) line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(s.clean(text), "?")), " ")
	const most = 300
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
