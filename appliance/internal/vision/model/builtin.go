package model

import (
	"embed"
	"fmt"

	"github.com/watchpost/watchpost/appliance/internal/vision/output"
)

// known are the cards of well-known model files.
//
//go:embed cards/*.yaml
var known embed.FS

// Known returns the built-in cards.
func Known() ([]Card, error) {
	entries, err := known.ReadDir("cards")
	if err != nil {
		return nil, err
	}
	var cards []Card
	for _, e := range entries {
		text, err := known.ReadFile("cards/" + e.Name())
		if err != nil {
			return nil, err
		}
		c, err := ParseCard(text)
		if err != nil {
			return nil, fmt.Errorf("built-in card %s: %w", e.Name(), err)
		}
		cards = append(cards, c)
	}
	return cards, nil
}

// knownBySHA256 finds the built-in card of a file.
func knownBySHA256(sum string) (Card, bool) {
	cards, err := Known()
	if err != nil {
		return Card{}, false
	}
	for _, c := range cards {
		if c.SHA256 == sum {
			return c, true
		}
	}
	return Card{}, false
}

// FamilyCard is a card with the values that a family's usual export needs and
// with COCO's labels; it has no name yet.
func FamilyCard(f output.Family) Card {
	c := Card{
		Labels: COCOLabels(),
		Input:  Input{Layout: "nchw", Colour: "rgb", Scale: 1.0 / 255, Letterbox: Center, Pad: 114},
		Output: Output{Family: f},
		// What most demos show boxes from.
		Threshold: 0.35, NMSIoU: 0.45,
	}
	switch f {
	case output.YOLOX:
		c.Input.Colour, c.Input.Scale, c.Input.Letterbox = "bgr", 1, TopLeft
	case output.NanoDet:
		// nanodet/config: BGR, ImageNet's mean and deviation, keep_ratio off.
		c.Input = Input{Layout: "nchw", Colour: "bgr", Scale: 1, Letterbox: Stretch,
			Mean: []float32{103.53, 116.28, 123.675}, Std: []float32{57.375, 57.12, 58.395}}
	case output.FastestDet:
		c.Input = Input{Layout: "nchw", Colour: "bgr", Scale: 1.0 / 255, Letterbox: Stretch}
		c.Threshold = 0.65
	case output.DETR:
		c.Input.Letterbox, c.Input.Pad = Stretch, 0
		c.Threshold, c.NMSIoU = 0.5, 0
	}
	return c
}
