package coco

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// Dataset is what is used of an instances.json.
type Dataset struct {
	Images      []Image      `json:"images"`
	Annotations []Annotation `json:"annotations"`
	Categories  []Category   `json:"categories"`
}

// Image is one picture of the set.
type Image struct {
	ID       int    `json:"id"`
	FileName string `json:"file_name"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
}

// Category is a class of objects.
type Category struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// Annotation is an object that is truly there.
type Annotation struct {
	ID       int `json:"id"`
	Image    int `json:"image_id"`
	Category int `json:"category_id"`
	// Box is x, y, width, height in pixels.
	Box [4]float64 `json:"bbox"`
	// Area of the object's outline in square pixels, less than its box's.
	Area float64 `json:"area"`
	// Crowd is 1 for a box around many: finding it is neither right nor wrong.
	Crowd int `json:"iscrowd"`
}

// Load reads an instances.json. Annotations of unknown images or categories
// are an error.
func Load(path string) (*Dataset, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	d := &Dataset{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("read annotations %s: %w", path, err)
	}
	images, categories := map[int]bool{}, map[int]bool{}
	for _, i := range d.Images {
		images[i.ID] = true
	}
	for _, c := range d.Categories {
		categories[c.ID] = true
	}
	for _, a := range d.Annotations {
		if !images[a.Image] || !categories[a.Category] {
			return nil, fmt.Errorf("read annotations %s: annotation %d is of image %d and category %d, which are not in it",
				path, a.ID, a.Image, a.Category)
		}
	}
	return d, nil
}

// Result is an object that a detector says is there.
type Result struct {
	Image, Category int
	// Box is x, y, width, height in pixels.
	Box   [4]float64
	Score float64
}

// Results turns a detector's findings in one image into results; findings whose
// label is no category of the set are left out.
func (d *Dataset) Results(image int, found []vision.Detection) []Result {
	ids := map[string]int{}
	for _, c := range d.Categories {
		ids[c.Name] = c.ID
	}
	var rs []Result
	for _, f := range found {
		if id, ok := ids[f.Label]; ok {
			rs = append(rs, Result{image, id, [4]float64{
				float64(f.X0), float64(f.Y0), float64(f.Width()), float64(f.Height())}, float64(f.Score)})
		}
	}
	return rs
}
