package upload

import (
	"fmt"
	"strings"
	"time"

	"github.com/watchpost/watchpost/state"
	"github.com/watchpost/watchpost/state/spool"
)

// recover takes up what is there: the record decides. A file that is shorter than its record, or
// missing, has lost acknowledged bytes, which is told; a file without a record was being made or
// removed when the program ended, and goes, unless its record may have been lost.
func (s *Uploads) recover() error {
	records, err := s.deps.DB.Uploads().All()
	if err != nil {
		return fmt.Errorf("read the uploads' records: %w", err)
	}
	found, err := s.deps.Spool.List()
	if err != nil {
		return err
	}
	files := make(map[string]spool.Entry, len(found))
	for _, f := range found {
		files[f.Name] = f
	}
	changed := map[string]state.Upload{}
	for _, rec := range records {
		file, there := files[rec.ID]
		delete(files, rec.ID)
		if why := trouble(rec, file, there); why != "" {
			s.deps.Log.Error("an upload has lost bytes and is refused", "upload", rec.ID, "name", rec.Name, "reason", why)
			s.refuseRecord(&rec, why+"; send the file again as a new upload")
			rec.Updated = time.Now().UTC()
			changed[rec.ID] = rec
		}
		s.takeUp(rec, there)
	}
	if err := s.deps.DB.Uploads().PutAll(changed); err != nil {
		return fmt.Errorf("record what uploads have lost: %w", err)
	}
	return s.strays(files)
}

// keptSuffix ends the name of an empty file that says of the one beside it that it is kept though it has no record:
// the next start knows nothing of the database that was replaced before this one.
const keptSuffix = ".kept"

// strays decides on files without a record.
func (s *Uploads) strays(files map[string]spool.Entry) error {
	for name, f := range files {
		path := s.deps.Spool.Path(name)
		_, kept := files[name+keptSuffix]
		of, mark := strings.CutSuffix(name, keptSuffix)
		switch {
		case mark && state.ValidID('u', of):
			if _, there := files[of]; !there {
				s.trash[name] = nil // somebody has removed what it stood for, or restored its record
			}
		case !f.Regular || !state.ValidID('u', name):
			s.deps.Log.Warn("this is no upload, and stays", "path", path)
		case kept, s.deps.Unsure != nil && s.deps.Unsure(f.Modified):
			s.deps.Log.Warn("a file belongs to no upload, perhaps because the database was restored from a backup; take what you need and delete it", "path", path, "bytes", f.Size)
			if kept {
				continue
			}
			m, err := s.deps.Spool.Create(name+keptSuffix, 0)
			if err == nil {
				err = m.Close()
			}
			if err != nil {
				return fmt.Errorf("keep a file without a record: %w", err)
			}
		default:
			s.deps.Log.Info("a file that a crash left behind is removed", "path", path, "bytes", f.Size)
			s.trash[name] = nil
		}
	}
	return nil
}

// trouble is why a record is not to be believed; "": it is.
func trouble(rec state.Upload, file spool.Entry, there bool) string {
	last := int64(0)
	if n := len(rec.Have); n > 0 {
		last = rec.Have[n-1].To
	}
	switch {
	case rec.Status == state.UploadRefused:
		return ""
	case !spool.Valid(rec.Have) || rec.Size >= 0 && last > rec.Size:
		return "the record of the bytes that are there is damaged"
	case !there:
		return "the file of its bytes is missing on the box"
	case !file.Regular:
		return "in place of its bytes there is something else on the box"
	case file.Size < last:
		return fmt.Sprintf("the file on the box has %d bytes and %d were kept", file.Size, last)
	}
	return ""
}

func (s *Uploads) takeUp(rec state.Upload, there bool) {
	e := newEntry(rec)
	s.byID[rec.ID] = e
	if rec.Status == state.UploadRefused {
		e.ended = fail(ErrGone, "the upload %s was refused: %s", e.id, rec.Problem)
		if there {
			s.trash[rec.ID] = e
		}
		return
	}
	e.promise = rec.Size
	if rec.Size < 0 {
		e.promise = e.received
	}
	e.granted = e.promise
	s.promised += e.promise
}
