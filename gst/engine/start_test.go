package engine

import (
	"testing"
	"time"
)

// With a warm registry GStreamer must be there in a fraction of what a viewer
// waits for the first picture.
func TestStart(t *testing.T) {
	start := time.Now()
	if err := Start(Options{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("GStreamer %s in %v", Version(), time.Since(start))
	if HasElement("nosuchelement") {
		t.Error("an element that is not there was found")
	}
}
