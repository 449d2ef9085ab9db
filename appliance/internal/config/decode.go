package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder fills a value from a syntax tree, goes on after every problem, and
// remembers where each path stands, so that Validate's findings can be placed.
type decoder struct {
	errs  Errors
	at    map[string]place
	wrong map[string]bool // paths that have their error already
}

type place struct{ line, column int }

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// start is where a node begins for a reader: the first key of a mapping, the
// dash or bracket of a list.
func start(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0].Key)
		}
		return placeOf(n.Start)
	case *ast.MappingValueNode:
		return start(n.Key)
	case *ast.LiteralNode:
		return placeOf(n.Start)
	}
	return placeOf(n.GetToken())
}

func (d *decoder) fail(n ast.Node, path, message, suggestion string) {
	d.failAt(start(n), path, message, suggestion)
	d.wrong[path] = true
}

func (d *decoder) failAt(at place, path, message, suggestion string) {
	d.errs.Entries = append(d.errs.Entries, Entry{
		Line: at.line, Column: at.column, Path: path, Message: message, Suggestion: suggestion,
	})
}

// decode fills v from n. A null leaves the default.
func (d *decoder) decode(n ast.Node, v reflect.Value, f field, path string) {
	d.at[path] = start(n)
	switch n := n.(type) {
	case *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode:
		d.fail(n, path, "anchors and aliases are not read here", "write the value out where it is used")
		return
	case *ast.TagNode:
		d.fail(n, path, "YAML tags are not read here", "write the plain value, in quotes where it is text")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, f, path)
	default:
		d.scalar(n, v, f, path)
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.fail(n, path, "wants keys with values, found "+kindName(n), "write KEY: VALUE on lines of their own, indented")
		return
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]place)
	for _, mv := range values {
		key, ok := d.key(mv, path)
		if !ok {
			continue
		}
		at := start(mv.Key)
		if first, twice := seen[key]; twice {
			d.failAt(at, join(path, clip(key)), fmt.Sprintf("key %s is given twice, first in line %d", quote(key), first.line), "keep one of them")
			continue
		}
		seen[key] = at
		known := false
		for _, f := range fields {
			if f.name == key {
				d.decode(mv.Value, v.Field(f.index), f, join(path, key))
				known = true
				break
			}
		}
		if !known {
			d.unknown(at, v.Type(), fields, key, path)
		}
	}
}

// key is the text of a mapping's key.
func (d *decoder) key(mv *ast.MappingValueNode, path string) (string, bool) {
	switch k := mv.Key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.MergeKeyNode:
		d.failAt(placeOf(k.Token), path, "merge keys (<<) are not read here", "write the values out where they are used")
		return "", false
	case ast.ScalarNode:
		return k.GetToken().Value, true
	}
	d.failAt(start(mv.Key), path, "a key must be a plain word", "")
	return "", false
}

func (d *decoder) unknown(at place, t reflect.Type, fields []field, key, path string) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	suggestion := "the keys here are " + strings.Join(names, ", ")
	if near := nearest(key, names); near != "" {
		suggestion = didYouMean(near)
		d.wrong[join(path, near)] = true // or it would be called missing as well
	} else if elsewhere := pathsEnding(reflect.TypeFor[Config](), "", key); len(elsewhere) > 0 {
		suggestion = "it belongs at " + strings.Join(elsewhere, " or ")
	}
	d.failAt(at, join(path, clip(key)), "unknown key "+quote(key), suggestion)
}

func (d *decoder) list(n ast.Node, v reflect.Value, f field, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		what := kindName(n)
		suggestion := "begin every entry with a dash"
		if v.Type().Elem().Kind() == reflect.String {
			suggestion = "write [VALUE, VALUE], or every entry on a line of its own behind a dash"
		}
		d.fail(n, path, "wants a list, found "+what, suggestion)
		return
	}
	out := reflect.Zero(v.Type())
	for i, entry := range seq.Values {
		p := path + "[" + strconv.Itoa(i) + "]"
		e := element(v.Type().Elem())
		if _, null := entry.(*ast.NullNode); null {
			d.fail(entry, p, "this entry of the list is empty", "fill it in, or take the dash away")
		} else {
			d.decode(entry, e, field{typ: e.Type(), secret: f.secret}, p)
		}
		out = reflect.Append(out, e)
	}
	v.Set(out)
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, f field, path string) {
	var problem, suggestion string
	switch v.Type() {
	case reflect.TypeFor[time.Duration]():
		problem, suggestion = setDuration(n, v)
	case reflect.TypeFor[Bitrate]():
		problem, suggestion = setBitrate(n, v)
	case reflect.TypeFor[Size]():
		problem, suggestion = setSize(n, v)
	default:
		switch v.Kind() {
		case reflect.String:
			problem, suggestion = setText(n, v, f)
		case reflect.Bool:
			problem, suggestion = setBool(n, v)
		case reflect.Int:
			problem, suggestion = setInt(n, v)
		case reflect.Float32, reflect.Float64:
			problem, suggestion = setFloat(n, v)
		}
	}
	if problem != "" {
		if shown, ok := shownValue(n, f); ok {
			problem += " " + shown
		} else {
			problem += " " + kindName(n)
		}
		d.fail(n, path, problem, suggestion)
	}
}

func setText(n ast.Node, v reflect.Value, f field) (problem, suggestion string) {
	switch n := n.(type) {
	case *ast.StringNode:
		v.SetString(n.Value)
		return "", ""
	case *ast.LiteralNode:
		v.SetString(strings.TrimRight(n.Value.Value, "\n"))
		return "", ""
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return "wants one text, found", ""
	}
	if t := n.GetToken(); t != nil && !f.secret {
		return "wants text, found", "put it in quotes: " + strconv.Quote(clip(t.Value))
	}
	return "wants text, found", "put it in quotes"
}

func setBool(n ast.Node, v reflect.Value) (problem, suggestion string) {
	if b, ok := n.(*ast.BoolNode); ok {
		v.SetBool(b.Value)
		return "", ""
	}
	if s, ok := n.(*ast.StringNode); ok {
		switch strings.ToLower(s.Value) {
		case "yes", "on", "y", "true", "1":
			return "wants true or false, found", `write true`
		case "no", "off", "n", "false", "0":
			return "wants true or false, found", `write false`
		}
	}
	return "wants true or false, found", ""
}

func setInt(n ast.Node, v reflect.Value) (problem, suggestion string) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		if i, ok := integer(n); ok {
			v.SetInt(i)
			return "", ""
		}
		return "is too large a number:", ""
	case *ast.StringNode:
		if _, err := strconv.Atoi(n.Value); err == nil {
			return "wants a whole number, found", "leave the quotes out"
		}
	}
	return "wants a whole number, found", ""
}

func integer(n *ast.IntegerNode) (int64, bool) {
	switch i := n.Value.(type) {
	case int64:
		return i, true
	case uint64:
		return int64(i), i <= math.MaxInt64
	}
	return 0, false
}

func setFloat(n ast.Node, v reflect.Value) (problem, suggestion string) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		if i, ok := integer(n); ok {
			v.SetFloat(float64(i))
			return "", ""
		}
		return "is too large a number:", ""
	case *ast.FloatNode:
		if !v.OverflowFloat(n.Value) && !math.IsInf(n.Value, 0) && !math.IsNaN(n.Value) {
			v.SetFloat(n.Value)
			return "", ""
		}
		return "is too large a number:", ""
	case *ast.StringNode:
		if cut, ok := strings.CutSuffix(n.Value, "%"); ok {
			if p, err := strconv.ParseFloat(strings.TrimSpace(cut), 64); err == nil {
				return "wants a number, found", "write " + strconv.FormatFloat(p/100, 'g', 6, 64)
			}
		}
		if _, err := strconv.ParseFloat(strings.Replace(n.Value, ",", ".", 1), 64); err == nil {
			return "wants a number, found", "write it without quotes, with a point"
		}
	}
	return "wants a number, found", ""
}

func setDuration(n ast.Node, v reflect.Value) (problem, suggestion string) {
	const want = "wants a time with its unit, found"
	switch n := n.(type) {
	case *ast.StringNode:
		t, err := time.ParseDuration(strings.ReplaceAll(n.Value, " ", ""))
		if err == nil {
			v.SetInt(int64(t))
			return "", ""
		}
		if _, nerr := strconv.ParseFloat(n.Value, 64); nerr == nil {
			return want, "write " + n.Value + "s for seconds"
		}
	case *ast.IntegerNode:
		i, ok := integer(n)
		if ok && i == 0 {
			v.SetInt(0)
			return "", ""
		}
		return want, "write " + clip(n.GetToken().Value) + "s for seconds"
	case *ast.FloatNode:
		return want, "write " + clip(n.GetToken().Value) + "s for seconds"
	}
	return want, "write it as 500ms, 10s or 2m"
}

func setBitrate(n ast.Node, v reflect.Value) (problem, suggestion string) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		if i, ok := integer(n); ok && i >= math.MinInt32 && i <= math.MaxInt32 {
			v.SetInt(i)
			return "", ""
		}
	case *ast.StringNode:
		if b, err := ParseBitrate(n.Value); err == nil {
			v.SetInt(int64(b))
			return "", ""
		}
	}
	return "wants a bitrate, found", "write bits per second as a number, or 800kbit, 2Mbit"
}

func setSize(n ast.Node, v reflect.Value) (problem, suggestion string) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		if i, ok := integer(n); ok {
			v.SetInt(i)
			return "", ""
		}
	case *ast.StringNode:
		if b, err := ParseSize(n.Value); err == nil {
			v.SetInt(int64(b))
			return "", ""
		}
	}
	return "wants a size, found", "write bytes as a number, or 512MiB, 20GiB"
}

// shownValue is the offending text of a scalar, unless it may be secret.
func shownValue(n ast.Node, f field) (string, bool) {
	if f.secret {
		return "", false
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return quote(n.Value), true
	case *ast.LiteralNode:
		return quote(n.Value.Value), true
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return "", false
	}
	if t := n.GetToken(); t != nil && t.Value != "" {
		return quote(t.Value), true
	}
	return "", false
}

// kindName says what a node is, for "wants a number, found a list".
func kindName(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}

// clip keeps odd keys from flooding a path.
func clip(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}
