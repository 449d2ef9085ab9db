package config

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Example is a file that shows every key with its meaning and its default.
//
//go:embed example.yaml
var Example []byte

// A file of an operator is a few kilobytes. The limits keep a hostile one from
// exhausting the parser, which works recursively.
const (
	maxSize    = 512 << 10
	maxNesting = 64
)

// Load reads a file. Relative paths in it are resolved from the file's folder.
// The error is an *Errors where the content is wrong, and wraps the one of the
// operating system where the file cannot be read.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", path, err)
	}
	c.resolve(dir)
	return c, nil
}

// Parse reads a file's content; name is used in errors. Empty content gives
// Default. The error is always an *Errors.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	d := &decoder{at: make(map[string]place), wrong: make(map[string]bool)}
	if body, ok := d.syntax(data); ok && body != nil {
		d.decode(body, reflect.ValueOf(c).Elem(), field{}, "")
		d.validate(c)
	}
	for i := range d.errs.Entries {
		d.errs.Entries[i].File = name
	}
	if err := d.errs.orNil(); err != nil {
		return nil, err
	}
	return c, nil
}

// syntax turns text into a tree. body is nil where the file holds no value.
func (d *decoder) syntax(data []byte) (body ast.Node, ok bool) {
	if len(data) > maxSize {
		d.failAt(place{1, 1}, "", fmt.Sprintf("the file has %d bytes, more than the %d that are read", len(data), maxSize), "is it the right file?")
		return nil, false
	}
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	if at, problem, suggestion := unreadable(data); problem != "" {
		d.failAt(at, "", problem, suggestion)
		return nil, false
	}
	file, err := parseTree(data)
	if err != nil {
		d.syntaxError(err, data)
		return nil, false
	}
	for i, doc := range file.Docs {
		if doc.Body == nil || i > 0 && doc.Body.Type() == ast.NullType {
			continue
		}
		if body != nil {
			d.failAt(start(doc.Body), "", "a second document begins here", "keep one document: remove the line ---")
			return nil, false
		}
		if _, directive := doc.Body.(*ast.DirectiveNode); directive {
			d.failAt(start(doc.Body), "", "YAML directives are not read here", "remove the line")
			return nil, false
		}
		if _, comment := doc.Body.(*ast.CommentGroupNode); comment {
			continue
		}
		body = doc.Body
	}
	return body, true
}

// parseTree keeps a fault of the parser from ending the process: it has
// panicked on malformed input before, and a file must never do that.
func parseTree(data []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the text is not YAML")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func (d *decoder) syntaxError(err error, data []byte) {
	var se *yaml.SyntaxError
	if !errors.As(err, &se) {
		d.failAt(place{1, 1}, "", "this is not YAML", "compare it with the example of the documentation")
		return
	}
	// Only the parser's own words: its Error would quote lines of the file.
	at, hint := placeOf(se.Token), syntaxHint(se.Message)
	if demoUnquoted(data, at.line) {
		hint = `put it in quotes, since it ends with a colon: "demo:"`
	}
	d.failAt(at, "", "this is not YAML: "+se.Message, hint)
}

// demoUnquoted tells whether a line is source: demo:, which YAML takes for two
// keys. It is the one source that nobody would think of quoting.
func demoUnquoted(data []byte, line int) bool {
	for l := range strings.Lines(string(data)) {
		if line--; line == 0 {
			return strings.Contains(l, ": demo:")
		}
	}
	return false
}

func syntaxHint(message string) string {
	switch {
	case strings.Contains(message, "tab"):
		return "indent with spaces"
	case strings.Contains(message, "quot"):
		return "close the quotes"
	case strings.Contains(message, "mapping value is not allowed"),
		strings.Contains(message, "invalid key"),
		strings.Contains(message, "unexpected key"),
		strings.Contains(message, "non-map value"):
		return "check the indentation of this line and the one before, and the space behind each colon"
	case strings.Contains(message, "']'"), strings.Contains(message, "'}'"), strings.Contains(message, "sequence end"):
		return "close the bracket"
	}
	return "check the indentation here and in the line before"
}

// unreadable finds what YAML does not allow or what this parser must not be
// given: bytes that are not text, tabs as indentation, very deep nesting.
func unreadable(data []byte) (at place, problem, suggestion string) {
	line, column, depth, dashes := 1, 1, 0, 0
	indent := true
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return place{line, column}, "the file is not UTF-8 text", "save it as UTF-8"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f:
			return place{line, column}, fmt.Sprintf("the file holds the control character %#02x", r), "remove it"
		case r == '\t' && indent:
			return place{line, column}, "a tab is used as indentation", "indent with spaces"
		case r == '[' || r == '{':
			depth++
		case (r == ']' || r == '}') && depth > 0:
			depth--
		case r == '-' && indent, r == '?' && indent:
			dashes++
		}
		if depth > maxNesting || dashes > maxNesting || indent && column > 4*maxNesting {
			return place{line, column}, "the nesting is too deep", "no key of this file needs that"
		}
		switch {
		case r == '\r' && i+1 < len(data) && data[i+1] == '\n':
			// one end of line in two bytes
		case r == '\n' || r == '\r':
			line, column, dashes, indent = line+1, 1, 0, true
		default:
			column++
			indent = indent && (r == ' ' || r == '-' || r == '?')
		}
		i += size
	}
	return place{}, "", ""
}
