package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/worker/link"
)

func installed() []Model {
	return []Model{{"motion", []string{"motion"}}, {"yolox-nano", []string{"person", "bicycle", "car"}}}
}

// whole is a workflow that has everything, its steps in the wrong order.
const whole = `{
  "version": "1.0",
  "inputs": [
    {"type": "InferenceImage", "name": "image"},
    {"type": "WorkflowVideoMetadata", "name": "video"},
    {"type": "WorkflowParameter", "name": "model", "default_value": "yolox-nano"},
    {"type": "InferenceParameter", "name": "confidence", "default_value": 0.5},
    {"type": "WorkflowParameter", "name": "classes"}
  ],
  "steps": [
    {"type": "roboflow_core/label_visualization@v1", "name": "labels", "image": "$steps.boxes.image", "predictions": "$steps.tracker.new_instances",
     "text": "Class and Confidence", "text_position": "BOTTOM_RIGHT", "text_color": "rgb(1, 2, 255)", "text_scale": 0.5, "text_padding": 7, "border_radius": 3, "text_thickness": 2},
    {"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes", "image": "$inputs.image", "predictions": "$steps.tracker.tracked_detections",
     "color_palette": "CUSTOM", "custom_colors": ["#ABC", "#112233", "BLACK"], "color_axis": "TRACK", "palette_size": 10, "thickness": 3, "roundness": 0.25, "copy_image": true},
    {"type": "roboflow_core/byte_tracker@v3", "name": "tracker", "image": "$inputs.image", "detections": "$steps.detect.predictions",
     "track_activation_threshold": 0.3, "lost_track_buffer": 45, "minimum_matching_threshold": 0.75, "minimum_consecutive_frames": 2, "instances_cache_size": 16384},
    {"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "detect", "images": "$inputs.image", "model_id": "$inputs.model",
     "confidence": "$inputs.confidence", "iou_threshold": 0.6, "class_filter": "$inputs.classes", "disable_active_learning": true, "max_detections": 300}
  ],
  "outputs": [
    {"type": "JsonField", "name": "found", "coordinates_system": "own", "selector": "$steps.detect.predictions"},
    {"type": "JsonField", "name": "seen", "selector": "$steps.tracker.already_seen_instances"},
    {"type": "JsonField", "name": "frame", "selector": "$inputs.image"},
    {"type": "JsonField", "name": "picture", "selector": "$steps.labels.image"}
  ]
}`

func TestWholeWorkflow(t *testing.T) {
	g, err := Compile(Request{Specification: json.RawMessage(whole), Parameters: map[string]json.RawMessage{
		"confidence": json.RawMessage("0.75"), "classes": json.RawMessage(`["car","person"]`), "other": json.RawMessage("1"),
	}}, installed)
	if err != nil {
		t.Fatal(err)
	}
	notes := g.Notes
	g.Notes = nil
	want := &Graph{
		Model: "yolox-nano", Threshold: 0.75, IoU: 0.6, Classes: []string{"car", "person"},
		Tracker: &link.Tracker{Activation: 0.3, LostFrames: 45, Matching: 0.75, FirstFrames: 2},
		Outputs: []link.Output{
			{Name: "found", Of: link.Detected}, {Name: "seen", Of: link.Seen}, {Name: "frame"},
			{Name: "picture", Layers: []link.Layer{
				{Draw: link.LayerBoxes, Of: link.Tracked, Thickness: 3, Roundness: 0.25, ColourBy: "track", Palette: []string{"#aabbcc", "#112233", "#000000"}},
				{Draw: link.LayerLabels, Of: link.New, Text: "class_confidence", Position: "bottom_right", TextColour: "#0102ff", Scale: 0.5, Padding: 7},
			}},
		},
	}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("compiled to\n%+v, want\n%+v", g, want)
	}
	wantNotes := []string{
		`the workflow has no parameter "other"`,
		`"border_radius" of the step "labels" has no effect on this box`,
		`"text_thickness" of the step "labels" has no effect on this box`,
		`"max_detections" of the step "detect" has no effect on this box`,
	}
	if !slices.Equal(notes, wantNotes) {
		t.Errorf("notes %q, want %q", notes, wantNotes)
	}
	// A worker takes what comes out of it.
	start := link.Session{Outputs: g.Outputs}
	if raw, err := json.Marshal(start); err != nil || len(raw) == 0 {
		t.Error(err)
	}
}

// spec is a workflow of these steps and outputs, with the usual inputs.
func spec(steps, outputs string) json.RawMessage {
	return json.RawMessage(`{"version":"1.0","inputs":[{"type":"WorkflowImage","name":"image"},{"type":"WorkflowVideoMetadata","name":"video"},` +
		`{"type":"WorkflowParameter","name":"p"}],"steps":[` + steps + `],"outputs":[` + outputs + `]}`)
}

func out(name, selector string) string {
	return fmt.Sprintf(`{"type":"JsonField","name":%q,"selector":%q}`, name, selector)
}

const (
	detect = `{"type":"roboflow_core/roboflow_object_detection_model@v1","name":"d","images":"$inputs.image","model_id":"yolox-nano"}`
	follow = `{"type":"roboflow_core/byte_tracker@v1","name":"t","metadata":"$inputs.video","predictions":"$steps.d.predictions"}`
)

// with puts fields into a step.
func with(step, fields string) string { return strings.TrimSuffix(step, "}") + "," + fields + "}" }

func TestWhatNothingSaidMeans(t *testing.T) {
	steps := detect + `,` + follow + `,{"type":"LabelVisualization","name":"l","image":"$inputs.image","predictions":"$steps.t.tracked_detections"},` +
		`{"type":"BoundingBoxVisualization","name":"b","image":"$inputs.image","predictions":"$steps.d.predictions"}`
	g, err := Compile(Request{Specification: spec(steps, out("l", "$steps.l.image")+","+out("b", "$steps.b.image"))}, installed)
	if err != nil {
		t.Fatal(err)
	}
	want := &Graph{Model: "yolox-nano", Threshold: 0.4, IoU: 0.3, Classes: []string{}, Tracker: &link.Tracker{}, Outputs: []link.Output{
		{Name: "l", Layers: []link.Layer{{Draw: link.LayerLabels, Of: link.Tracked, Text: "class"}}},
		{Name: "b", Layers: []link.Layer{{Draw: link.LayerBoxes, Of: link.Detected}}},
	}}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("%+v, want %+v", g, want)
	}
}

func TestOnlyWhatOutputsNeedIsDone(t *testing.T) {
	for _, c := range []struct {
		outputs         string
		noModel, tracks bool
	}{
		{out("f", "$inputs.image"), true, false},
		{out("f", "$steps.d.predictions"), false, false},
		{out("f", "$inputs.image") + "," + out("t", "$steps.t.tracked_detections"), false, true},
	} {
		g, err := Compile(Request{Specification: spec(detect+","+follow, c.outputs)}, installed)
		if err != nil {
			t.Fatal(err)
		}
		if g.NoModel != c.noModel || (g.Tracker != nil) != c.tracks {
			t.Errorf("%s: no model %v, tracker %v", c.outputs, g.NoModel, g.Tracker)
		}
	}
}

func TestConfidenceOfTheVersions(t *testing.T) {
	for _, c := range []struct {
		version int
		fields  string
		want    float32
	}{
		{1, `"confidence":0.25`, 0.25}, {1, `"confidence":"0.25"`, 0.25}, {1, `"confidence":null`, 0.4}, {1, `"confidence":0`, 0.001},
		{2, `"confidence":1`, 1}, {2, `"confidence":"$inputs.p"`, 0.4},
		{3, `"x":1`, 0}, {3, `"confidence_mode":"default"`, 0}, {3, `"confidence":0.3`, 0.3},
		{3, `"confidence_mode":"custom"`, 0.4}, {3, `"confidence_mode":"custom","custom_confidence":0.9`, 0.9}, {3, `"custom_confidence":0.9`, 0},
	} {
		step := strings.Replace(with(detect, c.fields), "@v1", fmt.Sprintf("@v%d", c.version), 1)
		g, err := Compile(Request{Specification: spec(step, out("f", "$steps.d.predictions"))}, installed)
		if err != nil {
			t.Errorf("v%d %s: %v", c.version, c.fields, err)
		} else if g.Threshold != c.want {
			t.Errorf("v%d %s: %v, want %v", c.version, c.fields, g.Threshold, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	const box = `{"type":"roboflow_core/bounding_box_visualization@v1","name":"b","image":"$inputs.image","predictions":"$steps.d.predictions"}`
	const label = `{"type":"roboflow_core/label_visualization@v1","name":"l","image":"$inputs.image","predictions":"$steps.d.predictions"}`
	frame, found := out("f", "$inputs.image"), out("f", "$steps.d.predictions")
	for name, c := range map[string]struct {
		spec json.RawMessage
		// of the refusal: the field within the specification, a part of the
		// message, and something that is available.
		field, message, available string
	}{
		"nothing":         {nil, "", "no workflow", ""},
		"null":            {json.RawMessage("null"), "", "no workflow", ""},
		"not JSON":        {json.RawMessage("{"), "", "not JSON", ""},
		"a list":          {json.RawMessage("[]"), "", "a list", ""},
		"inputs no list":  {json.RawMessage(`{"inputs":{}}`), ".inputs", "an object", ""},
		"input no object": {json.RawMessage(`{"inputs":[3]}`), ".inputs[0]", "a number", ""},
		"input's type":    {json.RawMessage(`{"inputs":[{"name":"a","type":"WorkflowBatchInput"}]}`), ".inputs[0].type", "WorkflowBatchInput", "WorkflowImage"},
		"input twice":     {json.RawMessage(`{"inputs":[{"name":"a","type":"WorkflowImage"},{"name":"a","type":"WorkflowParameter"}]}`), ".inputs[1].name", "two inputs", ""},
		"unknown step":    {spec(detect+`,{"type":"roboflow_core/dynamic_crop@v1","name":"crop"}`, frame), ".steps[1].type", `"roboflow_core/dynamic_crop@v1", as "crop" is`, "roboflow_core/byte_tracker@v2"},
		"case of a name":  {spec(`{"Type":"x","name":"a"}`, frame), ".steps[0].type", "missing", ""},
		"no name":         {spec(`{"type":"x"}`, frame), ".steps[0].name", "missing", ""},
		"empty name":      {spec(`{"type":"x","name":""}`, frame), ".steps[0].name", "1 to", ""},
		"dotted name":     {spec(`{"type":"x","name":"a.b"}`, frame), ".steps[0].name", "a.b", ""},
		"step twice":      {spec(box+","+box, frame), ".steps[1].name", "two steps", ""},
		"two detections":  {spec(detect+","+strings.Replace(detect, `"d"`, `"e"`, 1), frame), ".steps[1]", `"d" is one already: "e"`, ""},
		"two trackers":    {spec(detect+","+follow+","+strings.Replace(follow, `"t"`, `"u"`, 1), frame), ".steps[2]", `"t" is one already: "u"`, ""},
		"no outputs":      {spec(detect, ""), ".outputs", "no outputs", ""},
		"output's type":   {spec(detect, `{"name":"a","type":"CoordinatesSystem"}`), ".outputs[0].type", "CoordinatesSystem", "JsonField"},
		"output twice":    {spec(detect, frame+","+frame), ".outputs[1].name", "two outputs", ""},
		"output named *":  {spec(detect, out("*", "$inputs.image")), ".outputs[0].name", "stands for all", ""},
		"no selector":     {spec(detect, `{"name":"a","type":"JsonField"}`), ".outputs[0].selector", "missing", ""},
		"odd selector":    {spec(detect, out("a", "$step.d.predictions")), ".outputs[0].selector", "selects nothing", ""},
		"output's step":   {spec(detect, out("a", "$steps.x.predictions")), ".outputs[0].selector", `no step "x"`, "d"},
		"step's output":   {spec(detect, out("a", "$steps.d.model_id")), ".outputs[0].selector", `no output "model_id"`, "$steps.d.predictions"},
		"all of a step":   {spec(detect, out("a", "$steps.d.*")), ".outputs[0].selector", `no output "*"`, "$steps.d.predictions"},
		"v1's outputs":    {spec(detect+","+follow, out("a", "$steps.t.new_instances")), ".outputs[0].selector", "new_instances", "$steps.t.tracked_detections"},
		"a parameter out": {spec(detect, out("a", "$inputs.p")), ".outputs[0].selector", "parameter", "$inputs.image"},
		"unknown input":   {spec(detect, out("a", "$inputs.x")), ".outputs[0].selector", `not "x"`, "$inputs.image"},
		"no model":        {spec(strings.Replace(detect, `"model_id":"yolox-nano"`, `"x":1`, 1), found), ".steps[0].model_id", "no model", "yolox-nano"},
		"unknown model":   {spec(strings.Replace(detect, "yolox-nano", "coco/9", 1), found), ".steps[0].model_id", `"coco/9" is not installed`, "motion"},
		"model's type":    {spec(strings.Replace(detect, `"yolox-nano"`, "7", 1), found), ".steps[0].model_id", "a number", ""},
		"model of p":      {spec(strings.Replace(detect, "yolox-nano", "$inputs.p", 1), found), ".steps[0].model_id", "no model", "yolox-nano"},
		"model of q":      {spec(strings.Replace(detect, "yolox-nano", "$inputs.q", 1), found), ".steps[0].model_id", `no parameter "q"`, "p"},
		"model of a step": {spec(strings.Replace(detect, "yolox-nano", "$steps.x.y", 1), found), ".steps[0].model_id", "before the first frame", ""},
		"confidence":      {spec(with(detect, `"confidence":1.5`), found), ".steps[0].confidence", "1.5", ""},
		"confidence's":    {spec(with(detect, `"confidence":true`), found), ".steps[0].confidence", "a truth value", ""},
		"IoU":             {spec(with(detect, `"iou_threshold":[]`), found), ".steps[0].iou_threshold", "a list", ""},
		"mode":            {spec(strings.Replace(with(detect, `"confidence_mode":"x"`), "@v1", "@v3", 1), found), ".steps[0].confidence_mode", `"x"`, "custom"},
		"class":           {spec(with(detect, `"class_filter":["car","persn"]`), found), ".steps[0].class_filter[1]", `no class "persn"`, "person"},
		"class's type":    {spec(with(detect, `"class_filter":["car",1]`), found), ".steps[0].class_filter[1]", "a number", ""},
		"classes' type":   {spec(with(detect, `"class_filter":"car"`), found), ".steps[0].class_filter", "a text", ""},
		"detect in boxes": {spec(strings.Replace(detect, "$inputs.image", "$steps.b.image", 1)+","+box, found), ".steps[0].images", `picture of the step "b"`, ""},
		"no image":        {spec(strings.Replace(detect, `"images"`, `"imgs"`, 1), found), ".steps[0].images", "missing", ""},
		"image of boxes":  {spec(detect+","+strings.Replace(box, "$inputs.image", "$steps.d.predictions", 1), found), ".steps[1].image", "no picture", "$inputs.image"},
		"boxes of image":  {spec(detect+","+strings.Replace(box, "$steps.d.predictions", "$inputs.image", 1), found), ".steps[1].predictions", "no predictions", "$steps.d.predictions"},
		"boxes of boxes":  {spec(detect+","+strings.Replace(box, "d.predictions", "b.image", 1), found), ".steps[1].predictions", "no predictions", "$steps.d.predictions"},
		"no clock":        {spec(detect+","+strings.Replace(follow, `"metadata"`, `"x"`, 1), found), ".steps[1].image", "missing", ""},
		"odd clock":       {spec(detect+","+strings.Replace(follow, "video", "p", 1), found), ".steps[1].metadata", `not "p"`, ""},
		"tracks tracks":   {spec(detect+","+strings.Replace(follow, "d.predictions", "t.tracked_detections", 1), found), ".steps[1]", "t → t", ""},
		"buffer":          {spec(detect+","+with(follow, `"lost_track_buffer":1.5`), found), ".steps[1].lost_track_buffer", "1.5", ""},
		"matching":        {spec(detect+","+with(follow, `"minimum_matching_threshold":-1`), found), ".steps[1].minimum_matching_threshold", "-1", ""},
		"circle": {spec(detect+","+strings.Replace(box, "inputs.image", "steps.l.image", 1)+","+strings.Replace(label, "inputs.image", "steps.b.image", 1), found),
			".steps[1]", "b → l → b", ""},
		"thickness": {spec(detect+","+with(box, `"thickness":-2`), found), ".steps[1].thickness", "-2", ""},
		"roundness": {spec(detect+","+with(box, `"roundness":2`), found), ".steps[1].roundness", "it is 2", ""},
		"axis":      {spec(detect+","+with(box, `"color_axis":"SIZE"`), found), ".steps[1].color_axis", "SIZE", "TRACK"},
		"colour":    {spec(detect+","+with(box, `"color_palette":"CUSTOM","custom_colors":["#12"]`), found), ".steps[1].custom_colors[0]", "#12", ""},
		"text":      {spec(detect+","+with(label, `"text":"Colour"`), found), ".steps[1].text", "Colour", "Tracker Id"},
		"position":  {spec(detect+","+with(label, `"text_position":"LEFT"`), found), ".steps[1].text_position", "LEFT", "TOP_LEFT"},
		"ink":       {spec(detect+","+with(label, `"text_color":"rgb(1,2)"`), found), ".steps[1].text_color", "rgb(1,2)", ""},
		"padding":   {spec(detect+","+with(label, `"text_padding":99999`), found), ".steps[1].text_padding", "99999", ""},
	} {
		_, err := Compile(Request{Specification: c.spec}, installed)
		var r *Refusal
		if !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := specificationPath + c.field; r.Field != want {
			t.Errorf("%s: field %s, want %s (%v)", name, r.Field, want, err)
		}
		if !strings.Contains(r.Message, c.message) || c.available != "" && !slices.Contains(r.Available, c.available) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParametersAreNamedWhereTheyCameFrom(t *testing.T) {
	s := spec(with(detect, `"confidence":"$inputs.p"`), out("f", "$steps.d.predictions"))
	_, err := Compile(Request{Specification: s, Parameters: map[string]json.RawMessage{"p": json.RawMessage("7")}}, installed)
	var r *Refusal
	if !errors.As(err, &r) || r.Field != "workflow_configuration.workflows_parameters.p" {
		t.Fatal(err)
	}
	t.Log(err)
}

func TestImageInput(t *testing.T) {
	two := json.RawMessage(`{"inputs":[{"type":"WorkflowImage","name":"left"},{"type":"WorkflowImage","name":"right"}],"outputs":[` + out("f", "$inputs.right") + `]}`)
	one := json.RawMessage(`{"inputs":[{"type":"WorkflowImage","name":"camera"}],"outputs":[` + out("f", "$inputs.camera") + `]}`)
	for _, c := range []struct {
		spec   json.RawMessage
		input  string
		refuse string
	}{
		{two, "right", ""}, {two, "", imageInputPath}, {two, "left", specificationPath + ".outputs[0].selector"}, {two, "middle", imageInputPath},
		{one, "", ""}, {one, "camera", ""}, {one, "image", imageInputPath},
	} {
		g, err := Compile(Request{Specification: c.spec, ImageInput: c.input}, installed)
		var r *Refusal
		switch {
		case c.refuse == "" && err != nil, c.refuse != "" && !errors.As(err, &r), r != nil && r.Field != c.refuse:
			t.Errorf("input %q: %v, want a refusal of %q", c.input, err, c.refuse)
		case err == nil && (len(g.Outputs) != 1 || !g.Outputs[0].Image() || !g.NoModel):
			t.Errorf("input %q: %+v", c.input, g)
		}
	}
}

// What hostile specifications cost is bounded: each is refused at once.
func TestHostileSpecifications(t *testing.T) {
	many := func(n int, item func(int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = item(i)
		}
		return strings.Join(all, ",")
	}
	chain := func(n int) string {
		return detect + "," + many(n, func(i int) string {
			from := "$inputs.image"
			if i > 0 {
				from = fmt.Sprintf("$steps.b%d.image", i-1)
			}
			return fmt.Sprintf(`{"type":"roboflow_core/bounding_box_visualization@v1","name":"b%d","image":%q,"predictions":"$steps.d.predictions"}`, i, from)
		})
	}
	for name, c := range map[string]struct {
		spec  json.RawMessage
		field string
	}{
		"10 MB":           {spec(`{"type":"`+strings.Repeat("x", 10<<20)+`"}`, ""), ""},
		"100,000 steps":   {spec(many(100_000, func(int) string { return `{}` }), ""), ".steps"},
		"100,000 inputs":  {json.RawMessage(`{"inputs":[` + many(100_000, func(int) string { return `1` }) + `]}`), ".inputs"},
		"100,000 outputs": {spec("", many(100_000, func(int) string { return `1` })), ".outputs"},
		"deep":            {json.RawMessage(strings.Repeat(`{"inputs":[`, 100_000)), ""},
		"deep brackets":   {json.RawMessage(strings.Repeat("[", 1_000_000)), ""},
		"deep filter":     {spec(with(detect, `"class_filter":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)), ""), ""},
		"long chain":      {spec(chain(200), out("f", "$steps.b199.image")), ".outputs[0].selector"},
		"many classes":    {spec(with(detect, `"class_filter":[`+many(50_000, func(int) string { return `"car"` })+`]`), out("f", "$inputs.image")), ".steps[0].class_filter"},
	} {
		began := time.Now()
		_, err := Compile(Request{Specification: c.spec}, installed)
		var r *Refusal
		if !errors.As(err, &r) || r.Field != specificationPath+c.field {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: refused after %v", name, took)
		}
		if len(err.Error()) > 2048 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	// And what is as large as may be compiles.
	g, err := Compile(Request{Specification: spec(chain(link.MaxLayers), out("f", fmt.Sprintf("$steps.b%d.image", link.MaxLayers-1)))}, installed)
	if err != nil || len(g.Outputs[0].Layers) != link.MaxLayers {
		t.Errorf("%v %v", g, err)
	}
}

func TestManyNotesAreCounted(t *testing.T) {
	var fields []string
	for i := range 100 {
		fields = append(fields, fmt.Sprintf(`"field%03d":%d`, i, i))
	}
	g, err := Compile(Request{Specification: spec(with(detect, strings.Join(fields, ",")), out("f", "$inputs.image"))}, installed)
	if err != nil || len(g.Notes) != maxNotes+1 || g.Notes[maxNotes] != "and 68 more of the kind" {
		t.Errorf("%v: %d notes, the last %q", err, len(g.Notes), g.Notes[len(g.Notes)-1])
	}
}

func TestColours(t *testing.T) {
	for in, want := range map[string]string{
		"WHITE": "#ffffff", "white": "#ffffff", "#FFF": "#ffffff", "#0a0B0c": "#0a0b0c", "rgb(255,0, 1)": "#ff0001", "RGB(1,2,3)": "#010203", "bgr(1,2,3)": "#030201",
		"": "", "#12345": "", "#gggggg": "", "#+12345": "", "rgb(256,0,0)": "", "rgb(1,2,3": "", "rgb(1,2,3,4)": "", "purple": "",
	} {
		got, r := colour("x", in)
		if got != want || (r == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, r)
		}
	}
}

func TestChoose(t *testing.T) {
	g := &Graph{Outputs: []link.Output{{Name: "found", Of: link.Detected}, {Name: "frame"}, {Name: "picture"}}}
	list := func(names ...string) *[]string { return &names }
	for name, c := range map[string]struct {
		stream  *[]string
		data    []string
		video   bool
		want    link.Select
		refused string
	}{
		"nothing said":       {nil, nil, true, link.Select{Stream: "frame"}, ""},
		"nothing, no video":  {nil, nil, false, link.Select{}, ""},
		"no stream":          {list(), nil, true, link.Select{}, ""},
		"this stream":        {list("picture"), nil, true, link.Select{Stream: "picture"}, ""},
		"stream, no video":   {list("picture"), nil, false, link.Select{}, "stream_output"},
		"no such stream":     {list("x"), nil, true, link.Select{}, "stream_output"},
		"two streams":        {list("frame", "picture"), nil, true, link.Select{}, "stream_output"},
		"stream no picture":  {list("found"), nil, true, link.Select{}, "stream_output"},
		"no data":            {list(), []string{}, true, link.Select{}, ""},
		"all data":           {list(), []string{"*"}, true, link.Select{All: true}, ""},
		"these":              {list(), []string{"picture", "found", "picture"}, true, link.Select{Data: []string{"picture", "found"}}, ""},
		"all and a picture":  {list(), []string{"*", "frame"}, true, link.Select{All: true, Data: []string{"frame"}}, ""},
		"no such data":       {list(), []string{"found", "y"}, true, link.Select{}, "data_output"},
		"no data of no name": {list(), []string{""}, true, link.Select{}, "data_output"},
	} {
		got, err := g.Choose(c.stream, c.data, c.video)
		var r *Refusal
		if errors.As(err, &r) {
			if r.Field != c.refused {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if c.refused != "" || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if s, err := (&Graph{Outputs: []link.Output{{Name: "found", Of: link.Detected}}}).Choose(nil, nil, true); err != nil || s.Stream != "" {
		t.Errorf("a workflow without pictures: %+v, %v", s, err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(whole), "image", "classes", []byte(`["car"]`))
	f.Add([]byte(spec(detect+","+follow, out("t", "$steps.t.tracked_detections"))), "", "p", []byte("0.5"))
	f.Add([]byte(`{"inputs":[{"type":"WorkflowImage","name":"i"}],"outputs":[{"type":"JsonField","name":"f","selector":"$inputs.i"}]}`), "i", "", []byte("null"))
	f.Fuzz(func(t *testing.T, specification []byte, image, name string, parameter []byte) {
		r := Request{Specification: specification, ImageInput: image, Parameters: map[string]json.RawMessage{name: parameter}}
		g, err := Compile(r, installed)
		if err != nil {
			var refusal *Refusal
			if g != nil || !errors.As(err, &refusal) || refusal.Message == "" || !strings.HasPrefix(refusal.Field, configuration) {
				t.Fatalf("%v, %#v", g, err)
			}
			return
		}
		if len(g.Outputs) == 0 || len(g.Outputs) > link.MaxOutputs || len(g.Notes) > maxNotes+1 || g.Threshold < 0 || g.Threshold > 1 || g.IoU < 0 || g.IoU > 1 {
			t.Fatalf("%+v", g)
		}
		if !g.NoModel && !slices.ContainsFunc(installed(), func(m Model) bool { return m.Name == g.Model }) {
			t.Fatalf("model %q", g.Model)
		}
		for _, o := range g.Outputs {
			if o.Name == "" || len(o.Name) > maxName || len(o.Layers) > link.MaxLayers || o.Of != "" && len(o.Layers) > 0 {
				t.Fatalf("%+v", o)
			}
			for _, l := range o.Layers {
				if l.Of == "" || l.Draw == "" || l.Thickness < 0 || l.Roundness < 0 || l.Roundness > 1 || len(l.Palette) > link.MaxPalette {
					t.Fatalf("%+v", l)
				}
			}
		}
		if s, err := g.Choose(nil, []string{everything}, true); err != nil || !s.All {
			t.Fatalf("%+v, %v", s, err)
		}
		// The same twice, and whatever can be run can be kept.
		if again, err := Compile(r, installed); err != nil || !reflect.DeepEqual(g, again) {
			t.Fatalf("%+v, then %+v, %v", g, again, err)
		}
	})
}
