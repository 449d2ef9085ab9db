package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// plainText needs no quotes, by any reading of YAML: words, paths, times.
var plainText = regexp.MustCompile(`^(/[A-Za-z0-9_./-]+|[A-Za-z][A-Za-z0-9_./-]*|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+[kM]bit|[0-9]+[KMGT]iB)$`)

// YAML writes the configuration so that Parse reads the same back. Sources and
// other secrets are written out.
func (c *Config) YAML() ([]byte, error) {
	node, err := yaml.ValueToNode(c, yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	ast.Walk(quoter{}, node)
	return append([]byte(node.String()), '\n'), nil
}

// quoter quotes every text that could be read as something else; the encoder
// knows fewer of them than the parser (.inf).
type quoter struct{}

func (q quoter) Visit(n ast.Node) ast.Visitor {
	if mv, ok := n.(*ast.MappingValueNode); ok {
		ast.Walk(q, mv.Value) // keys are left as they are
		return nil
	}
	// A value that begins with a quote was quoted by the encoder: it quotes
	// every text that begins with one.
	if s, ok := n.(*ast.StringNode); ok && !plainText.MatchString(s.Value) && !strings.HasPrefix(s.Value, `"`) {
		s.Token.Type = token.DoubleQuoteType
	}
	return q
}
