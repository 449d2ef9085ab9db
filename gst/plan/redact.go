package plan

import (
	"path/filepath"
	"strings"
	"unicode"
)

// Redact returns a source fit for logs: of a URL only the scheme, the host and
// the path are left, since cameras take passwords in queries, too. A path that
// looks like a query (user=admin&password=…) is hidden with it.
func Redact(source string) string {
	scheme, rest, ok := strings.Cut(source, "://")
	if !ok {
		// A scheme that was forgotten: admin:secret@camera/stream. A file's path
		// may hold an @ of its own.
		at := strings.LastIndexByte(source, '@')
		if at >= 0 && strings.IndexByte(source[:at], ':') > 0 && source[0] != '/' && source[0] != '.' {
			return "***@" + hideQuery(source[at+1:])
		}
		return source
	}
	// A password may hold / ? and #, unescaped: only the last @ ends it.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return scheme + "://***@" + hideQuery(rest[at+1:])
	}
	return scheme + "://" + hideQuery(rest)
}

// Name is how a source is called in a sentence: a file by its name without the
// folders, on one line, all else as Redact has it.
func Name(source string) string {
	if Kind(source) != File || strings.Contains(source, "://") && FilePath(source) == source {
		return Redact(source)
	}
	base := filepath.Base(Redact(FilePath(source)))
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, base)
}

func hideQuery(s string) string {
	cut := strings.IndexAny(s, "?#;&=")
	if cut < 0 {
		return s
	}
	if slash := strings.LastIndexByte(s[:cut], '/'); s[cut] != '?' && slash >= 0 {
		cut = slash + 1
	}
	return s[:cut] + "***"
}

// RedactText redacts every word of a text that may be a source: what is a query
// in an address is prose in a sentence.
func RedactText(text string) string {
	words := strings.SplitAfter(text, " ")
	for i, w := range words {
		if strings.Contains(w, "://") || strings.Contains(w, "@") {
			bare := strings.TrimRight(w, " ")
			words[i] = Redact(bare) + w[len(bare):]
		}
	}
	return strings.Join(words, "")
}
