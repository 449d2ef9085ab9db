package config

import (
	"reflect"
	"strings"
	"time"
)

// field is one key of a mapping, as the struct tags describe it.
type field struct {
	name     string
	index    int
	typ      reflect.Type
	doc      string
	enum     []string // nil: any value
	min, max string
	pattern  string
	need     bool
	secret   bool
}

// fieldsOf lists the keys of a struct in the order of the file.
func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		f := field{
			name: name, index: i, typ: sf.Type,
			doc: sf.Tag.Get("doc"), min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			pattern: sf.Tag.Get("pattern"),
			need:    sf.Tag.Get("need") != "", secret: sf.Tag.Get("secret") != "",
		}
		if enum, ok := sf.Tag.Lookup("enum"); ok {
			f.enum = strings.Split(enum, "|")
		}
		fields = append(fields, f)
	}
	return fields
}

// element is a new entry of a list of t, with the defaults of its kind.
func element(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[Camera]() {
		v.Set(reflect.ValueOf(DefaultCamera()))
	}
	return v
}

// limit reads a min or max tag in the unit of the field's type: nanoseconds,
// bits per second, or a plain number.
func (f field) limit(text string) (float64, bool) {
	if text == "" {
		return 0, false
	}
	switch f.typ {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		return float64(d), err == nil
	case reflect.TypeFor[Size]():
		b, err := ParseSize(text)
		return float64(b), err == nil
	default:
		b, err := parseNumber(text)
		return b, err == nil
	}
}

func parseNumber(text string) (float64, error) {
	b, err := ParseBitrate(text)
	return float64(b), err
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// pathsEnding lists the full paths of every key called name, lists shown as [].
func pathsEnding(t reflect.Type, prefix, name string) []string {
	var found []string
	for _, f := range fieldsOf(t) {
		p := join(prefix, f.name)
		if f.name == name {
			found = append(found, p)
		}
		ft := f.typ
		if ft.Kind() == reflect.Slice {
			ft, p = ft.Elem(), p+"[]"
		}
		if ft.Kind() == reflect.Struct {
			found = append(found, pathsEnding(ft, p, name)...)
		}
	}
	return found
}
