package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/watchpost/watchpost/state/boltfile"
)

// made is a database file that bbolt wrote, of pages of that size, after random
// transactions; and what is in it.
func made(t testing.TB, seed uint64, pageSize, transactions, valueSize int) ([]byte, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.db")
	b, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize, NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	b.AllocSize = 4 * pageSize
	r := rand.New(rand.NewPCG(seed, 1))
	want := map[string]string{}
	for range transactions {
		err := b.Update(func(tx *bolt.Tx) error {
			for range r.IntN(20) {
				bucket := fmt.Sprintf("bucket%d", r.IntN(3))
				k, v := fmt.Sprintf("key%d", r.IntN(300)), string(bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(valueSize)))
				at, err := tx.CreateBucketIfNotExists([]byte(bucket))
				if err != nil {
					return err
				}
				if r.IntN(3) == 0 { // one deeper
					bucket += "/inner"
					if at, err = at.CreateBucketIfNotExists([]byte("inner")); err != nil {
						return err
					}
				}
				if r.IntN(3) == 0 {
					delete(want, bucket+"/"+k)
					err = at.Delete([]byte(k))
				} else {
					want[bucket+"/"+k] = v
					err = at.Put([]byte(k), []byte(v))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data, want
}

func check(data []byte) (boltfile.Report, map[string]string, error) {
	got := map[string]string{}
	rep, err := boltfile.Check(bytes.NewReader(data), int64(len(data)), func(path []string, k, v []byte) error {
		name := ""
		for _, p := range path {
			name += p + "/"
		}
		got[name+string(k)] = string(v)
		return nil
	})
	return rep, got, err
}

// Whatever bbolt writes is found to be good, with every record.
func TestGoodFiles(t *testing.T) {
	for seed := range uint64(24) {
		pageSize := 1024 << (seed % 5)
		data, want := made(t, seed, pageSize, 1+int(seed)*5, 10+int(seed%4)*900)
		rep, got, err := check(data)
		if err != nil {
			t.Fatalf("seed %d, pages of %d bytes: %v", seed, pageSize, err)
		}
		if len(got) != len(want) || rep.Records != uint64(len(want)) || rep.Torn {
			t.Fatalf("seed %d: %d records, %+v; want %d", seed, len(got), rep, len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("seed %d: %s is not what was written", seed, k)
			}
		}
	}
}

// usable opens a file with bbolt and does all that the box would do to it.
func usable(t testing.TB, data []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		t.Fatalf("bbolt does not open what was found good: %v", err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, at *bolt.Bucket) error {
			var keys [][]byte
			err := at.ForEach(func(k, v []byte) error {
				if v != nil {
					keys = append(keys, bytes.Clone(k))
				}
				return nil
			})
			for i, k := range keys {
				if i%2 == 0 {
					err = errors.Join(err, at.Delete(k))
				} else {
					err = errors.Join(err, at.Put(k, bytes.Repeat(k, 20)))
				}
			}
			return err
		})
	})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatalf("bbolt cannot use what was found good: %v", err)
	}
}

// What passes the check can be used by bbolt without a panic, however it was
// damaged; nearly all damage to what is in use does not pass.
func TestDamagedFiles(t *testing.T) {
	data, _ := made(t, 7, 1024, 60, 700)
	r := rand.New(rand.NewPCG(3, 4))
	passed, refused := 0, 0
	for range 1500 {
		bad := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			page := r.IntN(len(bad)/1024) * 1024
			switch r.IntN(4) {
			case 0:
				bad[page+r.IntN(64)] ^= 1 << r.IntN(8)
			case 1:
				bad[page+r.IntN(1024)] = byte(r.Uint32())
			case 2:
				copy(bad[page:page+1024], bad[r.IntN(len(bad)/1024)*1024:])
			case 3:
				clear(bad[page+r.IntN(1024) : page+1024])
			}
		}
		_, _, err := check(bad)
		switch {
		case err == nil:
			passed++
			if passed%20 == 0 { // opening is slow
				usable(t, bad)
			}
		case errors.Is(err, boltfile.ErrDamaged):
			refused++
		default:
			t.Fatalf("an error of another kind: %v", err)
		}
	}
	t.Logf("%d passed, %d refused", passed, refused)
	if refused < passed/4 {
		t.Error("hardly any damage is seen")
	}
}

// The state before the last commit is whole as well, and can be made the only
// one, or the newer one again.
func TestStateBefore(t *testing.T) {
	data, _ := made(t, 11, 1024, 30, 500)
	metas, err := boltfile.Metas(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(metas) != 2 || metas[0].Txid != metas[1].Txid+1 {
		t.Fatalf("%+v %v", metas, err)
	}
	var before bytes.Buffer
	if err := boltfile.CopyAt(&before, bytes.NewReader(data), int64(len(data)), metas[1]); err != nil {
		t.Fatal(err)
	}
	rep, want, err := check(before.Bytes())
	if err != nil || rep.Meta.Txid != metas[1].Txid {
		t.Fatalf("%+v %v", rep, err)
	}
	usable(t, before.Bytes())

	path := filepath.Join(t.TempDir(), "b.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if took, err := boltfile.TakeBack(f, int64(len(data)), metas[0].Txid); took || err != nil {
		t.Fatalf("took back what is acknowledged: %v %v", took, err)
	}
	if took, err := boltfile.TakeBack(f, int64(len(data)), metas[1].Txid); !took || err != nil {
		t.Fatalf("%v %v", took, err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rep, got, err := check(now)
	if err != nil || rep.Meta.Txid != metas[1].Txid || len(got) != len(want) {
		t.Fatalf("%+v, %d records, %v; want %d", rep, len(got), err, len(want))
	}
	usable(t, now)
}

// The metas' sums are made right, so that what they say is tried too.
func FuzzCheck(f *testing.F) {
	small, _ := made(f, 1, 1024, 3, 30)
	f.Add(small)
	f.Add(small[:5000])
	deep, _ := made(f, 2, 1024, 8, 200)
	f.Add(deep)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		for at := 0; at <= 1024 && at+80 <= len(data); at += 1024 {
			h := fnv.New64a()
			h.Write(data[at+16 : at+72])
			binary.LittleEndian.PutUint64(data[at+72:], h.Sum64())
		}
		_, _, err := check(data)
		switch {
		case err == nil:
			usable(t, data)
		case !errors.Is(err, boltfile.ErrDamaged):
			t.Fatal(err)
		}
	})
}
