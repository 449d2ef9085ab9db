package intake

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// Bounds of what a client may say of a file. The record keeps it all.
const (
	maxWords  = 64   // words in all
	maxKey    = 64   // bytes of a word's name
	maxValue  = 4096 // bytes of a word's value
	maxHeader = 16 << 10
)

// Words are what a client says of a file, by name. These mean something here:
// filename (or name), filetype (or type), sha256, model, threshold, classes,
// gate, max_fps, track, priority, no_video and no_job. The others are kept as they are.
type Words map[string]string

// ParseMetadata reads tus' Upload-Metadata: pairs of a name and a value in base64,
// separated by commas; the value may be missing. It is strict, where tus'
// reference server passes over what it cannot read. Errors: upload.ErrInvalid.
func ParseMetadata(header string) (Words, error) {
	w := Words{}
	if strings.TrimSpace(header) == "" {
		return w, nil
	}
	if len(header) > maxHeader {
		return nil, invalid("Upload-Metadata has %d bytes: give at most %d", len(header), maxHeader)
	}
	for pair := range strings.SplitSeq(header, ",") {
		name, coded, _ := strings.Cut(strings.TrimSpace(pair), " ")
		value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
		if err != nil {
			return nil, invalid("Upload-Metadata: the value of %q is not base64", name)
		}
		if err := w.set(name, string(value)); err != nil {
			return nil, fmt.Errorf("Upload-Metadata: %w", err)
		}
	}
	return w, nil
}

func (w Words) set(name, value string) error {
	_, twice := w[name]
	switch {
	case name == "":
		return invalid("a word has no name")
	case len(name) > maxKey:
		return invalid("the name %.20q… is longer than %d bytes", name, maxKey)
	case strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ',' }):
		return invalid("the name %q has other characters than ASCII letters, digits and signs", name)
	case twice:
		return invalid("%s is given twice", name)
	case len(value) > maxValue:
		return invalid("the value of %s is longer than %d bytes", name, maxValue)
	case len(w) == maxWords:
		return invalid("more than %d words are given", maxWords)
	}
	w[name] = value
	return nil
}

// known are the words that mean something.
var known = []string{"filename", "name", "filetype", "type", "sha256", "model", "threshold", "classes", "gate", "max_fps", "track", "priority", "no_video", "no_job"}

// AddQuery adds the words of an address's query. There, unlike in metadata, a word
// that means nothing is an error: it is a misspelt one. Errors: upload.ErrInvalid.
func (w Words) AddQuery(q url.Values) error {
	for name, values := range q {
		if !slices.Contains(known, name) {
			return invalid("?%.40s= means nothing here: the words are %s", name, strings.Join(known, ", "))
		}
		if len(values) != 1 {
			return invalid("?%s= is given twice", name)
		}
		if err := w.set(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// AddDisposition takes the file's name from a Content-Disposition header (RFC 6266), unless it is
// given already. Errors: upload.ErrInvalid.
func (w Words) AddDisposition(header string) error {
	if header == "" {
		return nil
	}
	_, values, err := mime.ParseMediaType(header)
	if err != nil {
		return invalid("Content-Disposition cannot be read: %v", err)
	}
	if name := values["filename"]; name != "" && w.name() == "" {
		return w.set("filename", name)
	}
	return nil
}

func (w Words) name() string {
	if n := w["filename"]; n != "" {
		return n
	}
	return w["name"]
}

// Spec makes of the words what upload.Create is told, without the size. Settings
// are nil where no word is about them. Errors: upload.ErrInvalid.
func (w Words) Spec() (upload.Spec, error) {
	s := upload.Spec{Name: w.name(), SHA256: strings.ToLower(w["sha256"]), Metadata: w}
	if s.Name == "" {
		s.Name = "upload"
	}
	if b, err := hex.DecodeString(s.SHA256); err != nil || len(b) != 0 && len(b) != 32 {
		return upload.Spec{}, invalid("sha256 is %.80q: give 64 hexadecimal digits", w["sha256"])
	}
	r := reader{w: w}
	s.NoJob = r.flag("no_job")
	r.number("priority", -100, 100) // the job's; read from the metadata when it is made
	settings := state.Settings{
		Model:     r.model(),
		Threshold: float32(r.decimal("threshold", 1)),
		Classes:   r.classes(),
		Gate:      r.flag("gate"),
		MaxFPS:    r.decimal("max_fps", 1000),
		NoVideo:   r.flag("no_video"),
		Track:     r.number("track", 0, 255),
	}
	if r.err != nil {
		return upload.Spec{}, r.err
	}
	if r.said {
		s.Settings = &settings
	}
	return s, nil
}

// reader reads typed words and keeps the first error.
type reader struct {
	w    Words
	said bool // a word about the analysis was there
	err  error
}

func (r *reader) get(name string) (string, bool) {
	v, ok := r.w[name]
	if ok && name != "no_job" && name != "priority" {
		r.said = true
	}
	return v, ok
}

func (r *reader) refuse(name, value, want string) {
	if r.err == nil {
		r.err = invalid("%s is %.80q: give %s", name, value, want)
	}
}

// flag is true also without a value.
func (r *reader) flag(name string) bool {
	v, ok := r.get(name)
	if !ok {
		return false
	}
	switch strings.ToLower(v) {
	case "", "1", "true", "yes":
		return true
	case "0", "false", "no":
		return false
	}
	r.refuse(name, v, "true or false")
	return false
}

func (r *reader) number(name string, least, most int) int {
	v, ok := r.get(name)
	if !ok || v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		r.refuse(name, v, fmt.Sprintf("a whole number from %d to %d", least, most))
		return 0
	}
	return n
}

func (r *reader) decimal(name string, most float64) float64 {
	v, ok := r.get(name)
	if !ok || v == "" {
		return 0
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > most {
		r.refuse(name, v, fmt.Sprintf("a number from 0 to %g", most))
		return 0
	}
	return f
}

func (r *reader) model() string {
	v, _ := r.get("model")
	if len(v) > 128 || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '/' || c == '\\' }) {
		r.refuse("model", v, "the name of an installed model, or motion")
		return ""
	}
	return v
}

func (r *reader) classes() []string {
	v, ok := r.get("classes")
	if !ok {
		return nil
	}
	var out []string
	for c := range strings.SplitSeq(v, ",") {
		if c = strings.TrimSpace(c); c != "" {
			out = append(out, c)
		}
	}
	if len(out) > 256 {
		r.refuse("classes", v, "at most 256 classes, separated by commas")
	}
	return out
}
