package plan

import "strconv"

// Still plans the pipeline that makes a JPEG of every frame: from an appsrc "in"
// to an appsink "out". quality is from 1 to 100.
func Still(quality int) Pipeline {
	return Pipeline{
		Launch: "appsrc name=in format=time max-buffers=0 max-bytes=0 max-time=0 ! jpegenc name=enc ! " + sink,
		Props:  []Prop{{Element: "enc", Name: "quality", Value: strconv.Itoa(max(1, min(quality, 100)))}},
	}
}
