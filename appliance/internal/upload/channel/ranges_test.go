package channel

import (
	"encoding/json"
	"testing"

	"github.com/watchpost/watchpost/state"
)

// What is told of an upload in thousands of pieces fits into a message.
func TestManyRanges(t *testing.T) {
	l := layout{size: 1 << 32, chunk: 1}
	var have []state.Extent
	for i := range int64(10_000) {
		have = append(have, state.Extent{From: l.size - 1e6 + 10*i, To: l.size - 1e6 + 10*i + 5})
	}
	list := l.chunks(have)
	text, err := json.Marshal(map[string]any{"committed": map[string]any{"id": state.NewUploadID(), "have": list}})
	if err != nil || len(text) >= 64<<10 || len(list) < 1000 {
		t.Errorf("%d ranges in %d bytes, %v", len(list), len(text), err)
	}
	for i, r := range list {
		if r != [2]int64{have[i].From, have[i].To - 1} {
			t.Fatalf("range %d is %v, of %v", i, r, have[i])
		}
	}
}
