package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/watchpost/watchpost/gst/plan"
)

// Errors is everything that is wrong with a configuration, in the order of the
// file. It is never empty where it is returned.
type Errors struct {
	Entries []Entry
}

// Entry is one problem.
type Entry struct {
	// File is the name that Parse was given; empty from Validate.
	File string
	// Line and Column count from 1; 0 where the configuration was not read
	// from a file.
	Line, Column int
	// Path is the key, such as cameras[0].picture.bitrate; empty for the
	// syntax of the file as a whole.
	Path string
	// Message says what is wrong and quotes the offending text, unless it may
	// hold a password.
	Message string
	// Suggestion says what to do; may be empty.
	Suggestion string
}

// maxShown bounds the text of Error; Entries has them all.
const maxShown = 30

// Error is one line per problem.
func (e *Errors) Error() string {
	var b strings.Builder
	for i, en := range e.Entries {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxShown {
			fmt.Fprintf(&b, "and %d more", len(e.Entries)-i)
			break
		}
		b.WriteString(en.String())
	}
	return b.String()
}

// String is file:line:column: path: message; suggestion.
func (e Entry) String() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	} else if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	if e.Suggestion != "" {
		b.WriteString("; " + e.Suggestion)
	}
	return b.String()
}

// orNil keeps a nil *Errors from becoming a non-nil error.
func (e *Errors) orNil() error {
	if len(e.Entries) == 0 {
		return nil
	}
	slices.SortStableFunc(e.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

func (e *Errors) add(path, message, suggestion string) {
	e.Entries = append(e.Entries, Entry{Path: path, Message: message, Suggestion: suggestion})
}

// quote shows a value of the file in a message: in quotes, not too long, and
// without what looks like credentials.
func quote(s string) string {
	if strings.ContainsAny(s, "@") || strings.Contains(s, "://") {
		s = plan.Redact(s)
	}
	const limit = 60
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit]) + "…"
	}
	return strconv.Quote(s)
}

func didYouMean(s string) string { return "did you mean " + strconv.Quote(s) + "?" }

// nearest is the candidate that s was most likely meant to be, or "".
func nearest(s string, candidates []string) string {
	if len(s) > 200 {
		return ""
	}
	norm := strings.NewReplacer("-", "_", " ", "_")
	low := norm.Replace(strings.ToLower(s))
	best, bestAt := "", 0
	for _, c := range candidates {
		if c == "" {
			continue
		}
		if strings.HasPrefix(low, c) && len(c) > 2 || strings.HasPrefix(c, low) && len(low) > 2 {
			return c // warning, err
		}
		d := distance(low, norm.Replace(strings.ToLower(c)))
		limit := max(1, (len(c)+1)/3)
		if d <= limit && (best == "" || d < bestAt) {
			best, bestAt = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	before, prev := make([]int, len(rb)+1), make([]int, len(rb)+1)
	row := make([]int, len(rb)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		row[0] = i
		for j := 1; j <= len(rb); j++ {
			cost := 1
			if ra[i-1] == rb[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(rb)]
}
