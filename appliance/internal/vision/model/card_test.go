package model

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/watchpost/watchpost/appliance/internal/vision/output"
)

const goodCard = `name: gate
title: What stands at the gate
licence: MIT
source: https://example.org/gate
sha256: 695E750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14
labels: [person, "no", dog]
input:
  layout: nhwc
  colour: rgb
  scale: 0.5
  mean: [1, 2, 3]
  std: [4, 5, 6]
  letterbox: center
  pad: 7
  size: [320, 256]
output:
  family: nanodet
  strides: [8, 16, 32]
  reg_max: 7
  scores: sigmoid
threshold: 0.4
nms_iou: 0.6
`

func TestParseCard(t *testing.T) {
	got, err := ParseCard([]byte(goodCard))
	if err != nil {
		t.Fatal(err)
	}
	want := Card{
		Name: "gate", Title: "What stands at the gate", Licence: "MIT", Source: "https://example.org/gate",
		SHA256: "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
		Labels: Labels{"person", "no", "dog"},
		Input: Input{Layout: "nhwc", Colour: "rgb", Scale: 0.5, Mean: []float32{1, 2, 3}, Std: []float32{4, 5, 6},
			Letterbox: Center, Pad: 7, Size: []int{320, 256}},
		Output:    Output{Family: output.NanoDet, Strides: []int{8, 16, 32}, RegMax: 7, Scores: output.Sigmoid},
		Threshold: 0.4, NMSIoU: 0.6,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestCardDefaults: what is left out comes from the family, also within a
// mapping that gives a part.
func TestCardDefaults(t *testing.T) {
	c, err := ParseCard([]byte("name: x\nlabels: coco-80\ninput: {pad: 0}\noutput: {family: yolov11}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := FamilyCard(output.YOLOv8)
	want.Name, want.Input.Pad = "x", 0
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if len(c.Labels) != 80 || c.Labels[0] != "person" || c.Labels[79] != "toothbrush" {
		t.Errorf("%d labels, %q to %q", len(c.Labels), c.Labels[0], c.Labels[len(c.Labels)-1])
	}
}

func TestCardErrors(t *testing.T) {
	edit := func(old, with string) string {
		if !strings.Contains(goodCard, old) {
			t.Fatalf("the card has no %q", old)
		}
		return strings.Replace(goodCard, old, with, 1)
	}
	for _, c := range []struct {
		name, text   string
		line, column int
		says         string
	}{
		{"unknown key", edit("  pad: 7", "  padd: 7"), 14, 3, "padd"},
		{"doubled key", edit("threshold: 0.4", "threshold: 0.4\nthreshold: 0.5"), 22, 1, "already defined"},
		{"wrong type", edit("scale: 0.5", "scale: small"), 10, 10, "cannot unmarshal"},
		{"number as text", edit("pad: 7", "pad: 300"), 14, 8, "300"},
		{"bad layout", edit("nhwc", "hwcn"), 8, 11, "neither nchw nor nhwc"},
		{"bad colour", edit("colour: rgb", "colour: grey"), 9, 11, "neither rgb nor bgr"},
		{"bad family", edit("nanodet", "ssd"), 17, 11, "not known"},
		{"bad name", edit("gate\n", "The Gate\n"), 1, 7, "small letters"},
		{"bad hash", edit("sha256: 695E", "sha256: 695Z"), 5, 9, "hexadecimal"},
		{"zero std", edit("[4, 5, 6]", "[4, 0, 6]"), 12, 8, "other than 0"},
		{"two means", edit("[1, 2, 3]", "[1, 2]"), 11, 9, "three numbers"},
		{"threshold", edit("threshold: 0.4", "threshold: 40"), 21, 12, "between 0 and 1"},
		{"labels by name", edit(`[person, "no", dog]`, "coco-91"), 6, 9, "not a known list"},
		{"label not text", edit(`"no"`, "7"), 6, 18, "put it in quotes"},
		{"label of two lines", edit(`"no"`, `"n\no"`), 6, 9, "one line"},
		{"title with a bell", edit("What stands at the gate", `"a\ab"`), 2, 8, "printable"},
		{"no labels", edit(`[person, "no", dog]`, "[]"), 6, 9, "labels"},
		{"strides", edit("[8, 16, 32]", "[8, 0]"), 17, 9, "stride 0"},
		{"alias", edit("mean: [1, 2, 3]", "mean: &m [1, 2, 3]"), 11, 9, "no place in a card"},
		{"syntax", edit("title: What", "title: [What"), 0, 0, ""},
		{"empty", "", 0, 0, "one YAML document"},
		{"two documents", goodCard + "---\nname: b\n", 0, 0, "this has 2"},
		{"huge", goodCard + "#" + strings.Repeat("x", maxCard), 0, 0, "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseCard([]byte(c.text))
			var ce *CardError
			if !errors.As(err, &ce) {
				t.Fatalf("error %v (%T), want a *CardError", err, err)
			}
			if !strings.Contains(ce.Message, c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want it to say %q in one line", err, c.says)
			}
			if c.line != 0 && (ce.Line != c.line || ce.Column != c.column) {
				t.Errorf("error at %d:%d, want %d:%d: %v", ce.Line, ce.Column, c.line, c.column, err)
			}
		})
	}
}

func TestKnownCards(t *testing.T) {
	cards, err := Known()
	if err != nil {
		t.Fatal(err)
	}
	if len(cards) != 2 {
		t.Errorf("%d built-in cards", len(cards))
	}
	for _, c := range cards {
		if c.SHA256 == "" || c.Licence == "" || c.Source == "" {
			t.Errorf("built-in card %s is not complete", c.Name)
		}
		again(t, c)
	}
	for _, f := range output.Families() {
		c := FamilyCard(f)
		c.Name = "x"
		again(t, c)
	}
}

// again holds that a card that is written is read as the same.
func again(t *testing.T, c Card) {
	t.Helper()
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCard(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !reflect.DeepEqual(got, c) {
		t.Fatalf("written and read:\n%+v\nwas\n%+v\nas\n%s", got, c, text)
	}
}

// FuzzCard: no text makes the parser panic, and a card that it takes is one
// that it writes and takes again.
func FuzzCard(f *testing.F) {
	f.Add(goodCard)
	f.Add("name: x\nlabels: coco-80\noutput: {family: yolox}\n")
	f.Add("name: &a [*a]\n")
	f.Add("labels: [a, b\n")
	f.Add("? {a: b}\n: - c\n")
	f.Add("name: x\nlabels: ['~', \"\\u0000\", 'a: b', '- c', 'true', \"x\\ny\"]\noutput: {family: detr}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCard([]byte(text))
		if err != nil {
			var ce *CardError
			if !errors.As(err, &ce) {
				t.Fatalf("error %v (%T) has no place", err, err)
			}
			return
		}
		again(t, c)
	})
}
