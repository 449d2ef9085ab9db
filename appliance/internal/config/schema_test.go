package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

func schema(t *testing.T) map[string]any {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// conforms is the part of JSON Schema that ours uses; a keyword that it does
// not know fails the test.
func conforms(t *testing.T, s map[string]any, v any, path string) error {
	t.Helper()
	if want, typed := s["type"]; typed && typeOf(v) != want && !(want == "number" && typeOf(v) == "integer") {
		return fmt.Errorf("%s: %v is not of type %v", path, v, want)
	}
	for key, want := range s {
		ok := true
		switch key {
		case "$schema", "title", "description", "default", "type":
		case "enum":
			ok = slices.Contains(want.([]any), v)
		case "const":
			ok = fmt.Sprint(v) == fmt.Sprint(want)
		case "pattern":
			text, isText := v.(string)
			ok = !isText || regexp.MustCompile(want.(string)).MatchString(text)
		case "minimum":
			ok = typeOf(v) == "string" || number(v) >= want.(float64)
		case "maximum":
			ok = typeOf(v) == "string" || number(v) <= want.(float64)
		case "minLength":
			ok = utf8.RuneCountInString(v.(string)) >= int(want.(float64))
		case "minItems":
			ok = len(v.([]any)) >= int(want.(float64))
		case "required":
			for _, k := range want.([]any) {
				_, has := v.(map[string]any)[k.(string)]
				ok = ok && has
			}
		case "additionalProperties":
			if want != false {
				t.Errorf("%s: additionalProperties is %v", path, want)
			}
		case "properties":
			m, isMap := v.(map[string]any)
			for k, e := range m {
				sub, known := want.(map[string]any)[k]
				if !known {
					return fmt.Errorf("%s: no key %s", path, k)
				}
				if err := conforms(t, sub.(map[string]any), e, path+"."+k); err != nil {
					return err
				}
			}
			ok = isMap
		case "items":
			for i, e := range v.([]any) {
				if err := conforms(t, want.(map[string]any), e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		case "anyOf":
			ok = slices.ContainsFunc(want.([]any), func(sub any) bool {
				return conforms(t, sub.(map[string]any), v, path) == nil
			})
		default:
			t.Fatalf("%s: this test does not know %s", path, key)
		}
		if !ok {
			return fmt.Errorf("%s: %v does not satisfy %s %v", path, v, key, want)
		}
	}
	return nil
}

func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case int, int64, uint64:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

func number(v any) float64 {
	var f float64
	fmt.Sscan(fmt.Sprint(v), &f)
	return f
}

func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	s := schema(t)
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{string(Example), true},
		{"listen: ':80'", true},
		{"lisen: ':80'", false},
		{"log: {level: loud}", false},
		{"log: {level: debug}", true},
		{cam + "threshold: 0.5", true},
		{cam + "threshold: 1.5", false},
		{cam + "threshold: x", false},
		{cam + "motion_gate: 1", false},
		{cam + "transport: ''", true},
		{cam + "boxes: client", true},
		{cam + "boxes: both", false},
		{cam + "transport: http", false},
		{cam + "stall_after: 5s", true},
		{cam + "stall_after: 1m30s", true},
		{cam + "stall_after: 5", false},
		{cam + "picture: {bitrate: 2Mbit}", true},
		{cam + "picture: {bitrate: 2.5 Mbit/s}", true},
		{cam + "picture: {bitrate: 800000}", true},
		{cam + "picture: {bitrate: 2MB}", false},
		{cam + "picture: {max_height: 9000}", false},
		{cam + "model: ../x", false},
		{cam + "classes: person", false},
		{cam + "classes: ['']", false},
		{cam + "capture: {width: -1, height: 3}", false},
		{cam + "extra: 1", false},
		{"cameras: [{id: a}]", false},
		{"cameras: [{source: a}]", false},
		{"cameras: [{id: A, source: a}]", false},
		{"cameras: {id: a}", false},
		{"webrtc: {max_viewers: 0}", false},
		{"webrtc: {ice_servers: [{username: a}]}", false},
		{"webrtc: {ice_servers: [{urls: []}]}", false},
		{"health: {stall_trace: 0}", true},
		{"health: {stall_warn: fast}", false},
		{"models: {default: ''}", false},
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(tt.text), &v); err != nil {
			t.Fatal(err)
		}
		_, perr := Parse("f", []byte(tt.text))
		serr := conforms(t, s, any(v), "")
		if (perr == nil) != tt.ok || (serr == nil) != tt.ok {
			t.Errorf("%s\nwant accepted %v, Parse says %v, the schema %v", tt.text, tt.ok, perr, serr)
		}
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	s := schema(t)
	if s["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema %v", s["$schema"])
	}
	var walk func(s map[string]any, v reflect.Value, path string)
	walk = func(s map[string]any, v reflect.Value, path string) {
		if s["additionalProperties"] != false {
			t.Errorf("%s allows other keys", path)
		}
		properties := s["properties"].(map[string]any)
		fields := fieldsOf(v.Type())
		if len(properties) != len(fields) {
			t.Errorf("%s has %d keys, the type %d", path, len(properties), len(fields))
		}
		for _, f := range fields {
			p, ok := properties[f.name].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is missing", path, f.name)
				continue
			}
			if d, _ := p["description"].(string); len(d) < 8 || !strings.HasSuffix(d, ".") && !strings.HasSuffix(d, ":") {
				t.Errorf("%s.%s: description %q", path, f.name, d)
			}
			fv := v.Field(f.index)
			switch fv.Kind() {
			case reflect.Struct:
				walk(p, fv, path+"."+f.name)
			case reflect.Slice:
				if e := fv.Type().Elem(); e.Kind() == reflect.Struct {
					walk(p["items"].(map[string]any), element(e), path+"."+f.name+"[]")
				}
			default:
				want := fmt.Sprint(fv.Interface())
				if got, has := p["default"]; has && fmt.Sprint(got) != want {
					t.Errorf("%s.%s: default %v, want %s", path, f.name, got, want)
				} else if has == (f.need && fv.IsZero()) {
					t.Errorf("%s.%s: has a default: %v", path, f.name, has)
				}
			}
		}
	}
	walk(s, reflect.ValueOf(Default()).Elem(), "")
}
