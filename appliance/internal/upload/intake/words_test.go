package intake

import (
	"encoding/base64"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

func meta(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return strings.Join(out, ",")
}

func TestMetadataBecomesASpec(t *testing.T) {
	sum := strings.Repeat("aB", 32)
	w, err := ParseMetadata(meta("filename", "höf.mp4", "filetype", "video/mp4", "sha256", sum, "model", "yolox-nano", "threshold", "0.25",
		"classes", "person, car,", "max_fps", "12.5", "track", "1", "priority", "-5", "relativePath", "null") + ", no_video,gate " + base64.StdEncoding.EncodeToString([]byte("false")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Spec()
	if err != nil {
		t.Fatal(err)
	}
	want := state.Settings{Model: "yolox-nano", Threshold: 0.25, Classes: []string{"person", "car"}, MaxFPS: 12.5, NoVideo: true, Track: 1}
	if s.Name != "höf.mp4" || s.SHA256 != strings.ToLower(sum) || s.NoJob || !reflect.DeepEqual(*s.Settings, want) {
		t.Errorf("%+v with %+v", s, *s.Settings)
	}
	if s.Metadata["relativePath"] != "null" || s.Metadata["priority"] != "-5" || s.Metadata["filetype"] != "video/mp4" {
		t.Errorf("kept %v", s.Metadata)
	}
}

func TestWithoutWordsTheBoxDecides(t *testing.T) {
	w, err := ParseMetadata(" ")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddQuery(url.Values{"no_job": {"1"}, "priority": {"7"}, "name": {"a"}}); err != nil {
		t.Fatal(err)
	}
	s, err := w.Spec()
	if err != nil || s.Settings != nil || !s.NoJob || s.Name != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := (Words{}).Spec(); err != nil || s.Name == "" {
		t.Errorf("%+v, %v: an upload needs a name to show", s, err)
	}
}

func TestWordsAreChecked(t *testing.T) {
	for name, c := range map[string]struct{ header, has string }{
		"base64":    {"filename !!", "not base64"},
		"no name":   {" ,a", "no name"},
		"twice":     {meta("model", "a", "model", "b"), "twice"},
		"odd name":  {meta("nä", "x"), "other characters"},
		"long name": {meta(strings.Repeat("n", maxKey+1), "x"), "longer than"},
		"long":      {meta("filename", strings.Repeat("n", maxValue+1)), "longer than"},
		"too much":  {meta("a", strings.Repeat("n", 4000), "b", strings.Repeat("n", 4000), "c", strings.Repeat("n", 4000), "d", strings.Repeat("n", 4000)), "at most 16384"},
		"sha256":    {meta("sha256", "12"), "64 hexadecimal digits"},
		"threshold": {meta("threshold", "NaN"), "a number from 0 to 1"},
		"rate":      {meta("max_fps", "-1"), "a number from 0 to 1000"},
		"track":     {meta("track", "1.5"), "a whole number from 0 to 255"},
		"priority":  {meta("priority", "101"), "from -100 to 100"},
		"flag":      {meta("no_video", "maybe"), "true or false"},
		"model":     {meta("model", "../../etc/passwd"), "an installed model"},
	} {
		w, err := ParseMetadata(c.header)
		if err == nil {
			_, err = w.Spec()
		}
		if !errors.Is(err, upload.ErrInvalid) || !strings.Contains(err.Error(), c.has) {
			t.Errorf("%s: %v, want %q", name, err, c.has)
		}
	}
	many := Words{}
	for i := range maxWords + 1 {
		if err := many.set("w"+string(rune('A'+i%26))+string(rune('a'+i/26)), ""); (err != nil) != (i == maxWords) {
			t.Errorf("word %d: %v", i, err)
		}
	}
	for query, has := range map[string]string{"treshold=1": "?treshold= means nothing here", "model=a&model=b": "twice"} {
		q, _ := url.ParseQuery(query)
		if err := (Words{}).AddQuery(q); !errors.Is(err, upload.ErrInvalid) || !strings.Contains(err.Error(), has) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestDisposition(t *testing.T) {
	for header, want := range map[string]string{
		"":                               "",
		"attachment":                     "",
		`attachment; filename="a b.mp4"`: "a b.mp4",
		`attachment; filename*=UTF-8''h%C3%B6f.mp4`:    "höf.mp4",
		`attachment; filename="x"; filename*=UTF-8''y`: "y",
	} {
		w := Words{}
		if err := w.AddDisposition(header); err != nil || w["filename"] != want {
			t.Errorf("%s: %q, %v", header, w["filename"], err)
		}
	}
	if err := (Words{}).AddDisposition("=;="); !errors.Is(err, upload.ErrInvalid) {
		t.Errorf("garbage: %v", err)
	}
	w := Words{"filename": "given"}
	if err := w.AddDisposition(`attachment; filename="other"`); err != nil || w["filename"] != "given" {
		t.Errorf("%v, %v: the name was given already", w, err)
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"", "filename YQ==", "a,b,c", " , ", meta("sha256", "x", "classes", ",,"), "threshold MWUzMDg=", "max_fps SW5m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w, err := ParseMetadata(header)
		if err == nil {
			var s upload.Spec
			if s, err = w.Spec(); err == nil {
				if s.Settings != nil && (s.Settings.Threshold < 0 || s.Settings.Threshold > 1 || !(s.Settings.MaxFPS >= 0) || s.Settings.Track < 0) {
					t.Errorf("%q gives %+v", header, *s.Settings)
				}
				if s.SHA256 != "" && len(s.SHA256) != 64 {
					t.Errorf("%q gives sha256 %q", header, s.SHA256)
				}
			}
		}
		if err != nil && !errors.Is(err, upload.ErrInvalid) {
			t.Errorf("%q: %v", header, err)
		}
		_ = Words{}.AddDisposition(header)
	})
}
