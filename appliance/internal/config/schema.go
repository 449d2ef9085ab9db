package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/invopop/jsonschema"
)

// durationPattern is what time.ParseDuration accepts, without sign.
const durationPattern = `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h) *)+$`

// Schema is the JSON Schema (2020-12) of the file, for editors. It knows the
// keys, types, limits and defaults; what spans several keys, only Validate does.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		Anonymous:                  true,
		Mapper:                     scalarSchema,
	}
	s := r.Reflect(&Config{})
	s.Title = "Watchpost configuration"
	describe(s, reflect.ValueOf(Default()).Elem())
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(out, '\n'), nil
}

// scalarSchema describes the types that the file writes as text.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: durationPattern},
			{Const: 0},
		}}
	case reflect.TypeFor[Bitrate]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0"},
			{Type: "string", Pattern: bitratePattern},
		}}
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0"},
			{Type: "string", Pattern: sizePattern},
		}}
	}
	return nil
}

// describe adds what the struct tags and the defaults say to the schema of a
// mapping.
func describe(s *jsonschema.Schema, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		p, ok := s.Properties.Get(f.name)
		if !ok {
			continue
		}
		p.Description = f.doc
		if f.need && v.Field(f.index).IsZero() {
			s.Required = append(s.Required, f.name)
		}
		fv := v.Field(f.index)
		switch fv.Kind() {
		case reflect.Struct:
			describe(p, fv)
			continue
		case reflect.Slice:
			if et := fv.Type().Elem(); et.Kind() == reflect.Struct {
				describe(p.Items, element(et))
			} else {
				one := uint64(1)
				p.Items.MinLength = &one
			}
			if f.need {
				one := uint64(1)
				p.MinItems = &one
			}
			continue
		}
		limits(p, f)
		if !f.need || !fv.IsZero() {
			p.Default = plain(fv)
		}
	}
}

func limits(p *jsonschema.Schema, f field) {
	for _, e := range f.enum {
		p.Enum = append(p.Enum, e)
	}
	if f.pattern != "" {
		p.Pattern = "^(" + f.pattern + ")$"
		if !f.need {
			p.Pattern = "^(" + f.pattern + ")?$"
		}
	} else if f.need {
		one := uint64(1)
		p.MinLength = &one
	}
	if p.Type == "number" || p.Type == "integer" {
		if lo, ok := f.limit(f.min); ok {
			p.Minimum = json.Number(strconv.FormatFloat(lo, 'g', -1, 64))
		}
		if hi, ok := f.limit(f.max); ok {
			p.Maximum = json.Number(strconv.FormatFloat(hi, 'g', -1, 64))
		}
	} else if f.min != "" {
		p.Description += " From " + f.min + " to " + f.max + "."
	}
}

// plain is a default as the file would write it.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case Bitrate:
		return int(x)
	case Size:
		return x.String()
	default:
		return x
	}
}
