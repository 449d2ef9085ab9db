package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// depth is how deep the values of a JSON text are nested, which need not be valid.
func depth(raw []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			now++
			deepest = max(deepest, now)
		case b == '}' || b == ']':
			now--
		}
	}
	return deepest
}

// kindOf says in words what a JSON value is.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 't', 'f':
		return "a truth value"
	case 'n':
		return "null"
	}
	return "a number"
}

// object reads a JSON object. Its names are told apart by case, which a struct's
// would not be.
func object(path string, raw json.RawMessage) (map[string]json.RawMessage, *Refusal) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		if json.Valid(raw) {
			return nil, refuse(path, "it is %s", kindOf(raw)).want("an object")
		}
		return nil, refuse(path, "it is not JSON: %v", err)
	}
	if m == nil {
		return nil, refuse(path, "it is null").want("an object")
	}
	return m, nil
}

// array reads a JSON list of at most that many items; none where there is nothing.
func array(path string, raw json.RawMessage, most int) ([]json.RawMessage, *Refusal) {
	if len(raw) == 0 {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, refuse(path, "it is %s", kindOf(raw)).want("a list")
	}
	if len(list) > most {
		return nil, refuse(path, "it has %d items, the most is %d", len(list), most)
	}
	return list, nil
}

// stringOf is a text that must be there.
func stringOf(path string, in map[string]json.RawMessage, name string) (string, *Refusal) {
	raw, ok := in[name]
	if !ok {
		return "", refuse(path+"."+name, "it is missing").want("a text")
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", refuse(path+"."+name, "it is %s", kindOf(raw)).want("a text")
	}
	return *s, nil
}

func nameOf(path string, in map[string]json.RawMessage) (string, *Refusal) {
	name, r := stringOf(path, in, "name")
	if r == nil && (name == "" || len(name) > maxName) {
		return "", refuse(path+".name", "a name has 1 to %d bytes, this one %d", maxName, len(name))
	}
	return name, r
}

// selector is $inputs.NAME, with no output, or $steps.NAME.OUTPUT.
type selector struct{ step, input, output string }

func (s selector) String() string {
	if s.step != "" {
		return "$steps." + s.step + "." + s.output
	}
	return "$inputs." + s.input
}

const selectors = "$inputs.NAME or $steps.NAME.OUTPUT"

func selectorOf(path string, in map[string]json.RawMessage, name string) (selector, *Refusal) {
	s, r := stringOf(path, in, name)
	if r != nil {
		return selector{}, r.want(selectors)
	}
	if input, ok := strings.CutPrefix(s, "$inputs."); ok && input != "" {
		return selector{input: input}, nil
	}
	rest, ok := strings.CutPrefix(s, "$steps.")
	step, output, dot := strings.Cut(rest, ".")
	if !ok || !dot || step == "" || output == "" {
		return selector{}, refuse(path+"."+name, "%.64q selects nothing", s).want(selectors)
	}
	return selector{step: step, output: output}, nil
}

// value is what a step's field stands for.
type value struct {
	path string
	raw  json.RawMessage // nil: nothing was said, the default holds
	// open: a parameter whose value is not known yet.
	open bool
}

// take is the value of the first of these fields that the step has, parameters
// put in.
func (c *compiler) take(s *step, names ...string) (value, *Refusal) {
	v := value{path: s.path + "." + names[0]}
	for _, name := range names {
		s.used(name)
		if raw := given(s.fields[name]); raw != nil && v.raw == nil {
			v.path, v.raw = s.path+"."+name, raw
		}
	}
	var text string
	if v.raw == nil || json.Unmarshal(v.raw, &text) != nil || !strings.HasPrefix(text, "$") {
		return v, nil
	}
	name, ok := strings.CutPrefix(text, "$inputs.")
	if !ok {
		return v, refuse(v.path, "%.64q is no value that is known before the first frame", text).want("a value, or $inputs.NAME of a parameter")
	}
	raw, known := c.parameters[name]
	if !known {
		return v, refuse(v.path, "the workflow has no parameter %.64q", name).have(sorted(c.parameters))
	}
	v.raw, v.open = raw, raw == nil && c.open
	if _, said := c.request.Parameters[name]; said && raw != nil {
		v.path = parametersPath + "." + name
	}
	return v, nil
}

// number reads a number within bounds, or a text that is one.
func (v value) number(least, most, otherwise float64) (float64, *Refusal) {
	if v.raw == nil {
		return otherwise, nil
	}
	want := fmt.Sprintf("a number from %v to %v", least, most)
	text := string(v.raw)
	if s := ""; json.Unmarshal(v.raw, &s) == nil {
		text = strings.TrimSpace(s)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) {
		return 0, refuse(v.path, "it is %s", kindOf(v.raw)).want(want)
	}
	if n < least || n > most {
		return 0, refuse(v.path, "it is %v", n).want(want)
	}
	return n, nil
}

// whole reads a whole number within bounds.
func (v value) whole(least, most, otherwise int) (int, *Refusal) {
	n, r := v.number(float64(least), float64(most), float64(otherwise))
	if r == nil && n != math.Trunc(n) {
		r = refuse(v.path, "it is %v", n)
	}
	if r != nil {
		return 0, r.want(fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return int(n), nil
}

// text reads a text.
func (v value) text(otherwise string) (string, *Refusal) {
	if v.raw == nil {
		return otherwise, nil
	}
	var s string
	if err := json.Unmarshal(v.raw, &s); err != nil {
		return "", refuse(v.path, "it is %s", kindOf(v.raw)).want("a text")
	}
	return s, nil
}

// texts reads a list of texts.
func (v value) texts(most int) ([]string, *Refusal) {
	list, r := array(v.path, v.raw, most)
	if r != nil {
		return nil, r.want("a list of texts")
	}
	out := make([]string, len(list))
	for i, raw := range list {
		var s *string
		if err := json.Unmarshal(raw, &s); err != nil || s == nil {
			return nil, refuse(fmt.Sprintf("%s[%d]", v.path, i), "it is %s", kindOf(raw)).want("a text")
		}
		out[i] = *s
	}
	return out, nil
}
