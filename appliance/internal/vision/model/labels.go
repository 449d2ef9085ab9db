package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// COCO80 is the name by which a card asks for the 80 class names of the COCO
// detection data set, in the order in which networks number them.
const COCO80 = "coco-80"

// coco80 are those names, as annotations/instances_val2017.json has them.
const coco80 = `person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,` +
	`fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,` +
	`elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,` +
	`skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,` +
	`wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,` +
	`broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,` +
	`dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,` +
	`toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush`

// Labels are the class names of a model, in the order of its output. In a card
// they are a list, or coco-80.
type Labels []string

// COCOLabels returns the labels that coco-80 stands for.
func COCOLabels() Labels { return strings.Split(coco80, ",") }

// UnmarshalYAML reads the list or the name.
func (l *Labels) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.StringNode:
		if n.Value != COCO80 {
			return positioned(node, fmt.Sprintf("labels: %q is not a known list: write %s or the names", n.Value, COCO80))
		}
		*l = COCOLabels()
		return nil
	case *ast.SequenceNode:
		*l = nil
		for _, v := range n.Values {
			s, ok := v.(*ast.StringNode)
			if !ok {
				return positioned(v, fmt.Sprintf("labels: %s is not text: put it in quotes", v.String()))
			}
			*l = append(*l, s.Value)
		}
		return nil
	}
	return positioned(node, "labels: expected a list of names, or "+COCO80)
}

// MarshalYAML writes the name of a list that has one.
func (l Labels) MarshalYAML() (any, error) {
	if slices.Equal(l, COCOLabels()) {
		return COCO80, nil
	}
	return []string(l), nil
}
