package state

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	uploads, jobs := fixtureRecords()
	for _, u := range uploads {
		raw, err := encode(bucketUploads, u.ID, u)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode[Upload](bucketUploads, u.ID, raw); err != nil || !reflect.DeepEqual(got, u) {
			t.Errorf("%+v (%v), want %+v", got, err, u)
		}
		if _, err := decode[Upload](bucketJobs, u.ID, raw); err == nil {
			t.Error("a record is believed in another bucket")
		}
		if _, err := decode[Upload](bucketUploads, u.ID+"0", raw); err == nil {
			t.Error("a record is believed under another id")
		}
	}
	for _, j := range jobs {
		raw, err := encode(bucketJobs, j.ID, j)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode[Job](bucketJobs, j.ID, raw); err != nil || !reflect.DeepEqual(got, j) {
			t.Errorf("%+v (%v), want %+v", got, err, j)
		}
	}
	for _, id := range []string{"", strings.Repeat("i", maxID+1)} {
		if _, err := encode(bucketJobs, id, Job{}); err == nil {
			t.Errorf("an id of %d bytes is taken", len(id))
		}
	}
	if _, err := encode(bucketJobs, "j", Job{Outcome: json.RawMessage("{")}); err == nil {
		t.Error("an outcome that is not JSON is taken")
	}
}

// Whatever lies under a key, reading it gives a record or a RecordError.
func FuzzDecode(f *testing.F) {
	uploads, jobs := fixtureRecords()
	for _, u := range uploads[:4] {
		raw, _ := json.Marshal(u)
		f.Add(raw, true)
	}
	for _, j := range jobs[:3] {
		raw, _ := json.Marshal(j)
		f.Add(raw, true)
	}
	f.Add([]byte{1, 2, 3}, false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, raw []byte, sealed bool) {
		if sealed { // past the sum, as a program of another version could write it
			raw = seal(bucketUploads, "u", raw)
		}
		var bad *RecordError
		u, err := decode[Upload](bucketUploads, "u", raw)
		if err != nil && (!errors.As(err, &bad) || !reflect.ValueOf(u).IsZero()) {
			t.Fatalf("%+v, %v", u, err)
		}
		if err == nil {
			again, err := encode(bucketUploads, "u", u)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			if _, err := decode[Upload](bucketUploads, "u", again); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
		}
		if _, err := decode[Job](bucketJobs, "j", raw); err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		for v := 1; v <= schema; v++ {
			_ = checkRecord(v, bucketJobs, "j", raw)
			_ = checkRecord(v, bucketWorkflows, "w/w", raw)
			_ = entry(v, bucketUploads, "u", raw)
		}
		parseSchema(raw)
	})
}

func TestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for range 200 {
			u, j := NewUploadID(), NewJobID()
			if !ValidID('u', u) || !ValidID('j', j) || ValidID('u', j) {
				t.Fatalf("%q %q", u, j)
			}
			ids = append(ids, u)
			time.Sleep(time.Millisecond)
		}
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Error("ids do not sort by the time of their making")
		}
	})
	for _, bad := range []string{"", "u", "u/../../../../../../etc/pwd", "u000000000000000000000000w", "u00000000000000000000000000", "U0000000000000000000000000"} {
		if ValidID('u', bad) {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}
