package job

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/watchpost/watchpost/state"
)

// mp4Box is one box of ISO/IEC 14496-12.
func mp4Box(kind string, body int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+body))
	return append(append(b, kind...), make([]byte, body)...)
}

// A video that grows is shown up to its last whole fragment: half a one, which is
// there for a moment, ends a player.
func TestGrowingVideoIsShownInWholeFragments(t *testing.T) {
	d := newDesk(t)
	d.openDB()
	id := state.NewJobID()
	if err := d.db.Jobs().Put(id, state.Job{ID: id, Upload: state.NewUploadID(), Name: "a.mp4", Status: state.JobCanceled}); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(d.dir, "jobs", id)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for _, b := range [][]byte{mp4Box("ftyp", 16), mp4Box("moov", 300), mp4Box("moof", 80), mp4Box("mdat", 900)} {
		whole = append(whole, b...)
	}
	part := filepath.Join(folder, annotatedName+partSuffix)
	torn := append(append([]byte(nil), whole...), mp4Box("moof", 80)...)
	torn = append(torn, mp4Box("mdat", 900)[:500]...)
	if err := os.WriteFile(part, torn, 0o644); err != nil {
		t.Fatal(err)
	}
	d.open()
	list, err := d.q.Files(id)
	if err != nil || len(list) != 1 || list[0].Complete || list[0].Bytes != int64(len(whole)) {
		t.Fatalf("%+v, %v; want %d bytes", list, err, len(whole))
	}
	f, err := d.q.OpenResult(id, annotatedName)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || len(got) != len(whole) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(whole), err)
	}
}
