package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/gst/container"
)

const (
	summaryName   = "summary.json"
	annotatedName = "annotated.mp4"
	trashName     = ".trash" // folders on their way out

	// maxSummary bounds what of a worker's summary is taken into a record.
	maxSummary = 1 << 20
)

// kinds are the files that a results folder shows, with their media types.
// Whatever else lies in it is nobody's business.
var kinds = []struct{ name, media string }{
	{annotatedName, "video/mp4"},
	{detectionsName, "application/x-ndjson"},
	{"coco.json", "application/json"},
	{"tracks.mot.txt", "text/plain; charset=utf-8"},
	{"boxes.vtt", "text/vtt; charset=utf-8"},
	{summaryName, "application/json"},
}

func (q *Jobs) folder(id string) string { return filepath.Join(q.cfg.Dir, id) }

// ResultFile is one file of a job's results.
type ResultFile struct {
	Name  string
	Media string // its media type
	Bytes int64
	// Complete: it is finished; else it grows.
	Complete bool
	Modified time.Time
	// Tag names the bytes: while a file only grows it stays, so that a reader may
	// go on with it.
	Tag string
}

// OpenFile is a ResultFile to read; its first Bytes bytes will not change.
type OpenFile struct {
	ResultFile
	io.ReadSeeker
	io.Closer
}

// Files lists what there is of a job's results.
func (q *Jobs) Files(id string) ([]ResultFile, error) {
	if _, err := q.entry(id); err != nil {
		return nil, err
	}
	all := []ResultFile{}
	for _, k := range kinds {
		f, file, err := q.openResult(id, k.name, k.media)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.Close()
		all = append(all, file)
	}
	return all, nil
}

// OpenResult opens one file of a job's results, as far as it is there. The
// caller closes it. ErrNotFound: there is no such file, or not yet.
func (q *Jobs) OpenResult(id, name string) (*OpenFile, error) {
	if _, err := q.entry(id); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if k.name != name {
			continue
		}
		f, file, err := q.openResult(id, k.name, k.media)
		if errors.Is(err, os.ErrNotExist) {
			return nil, explain(ErrNotFound, "This job has no "+name+", or not yet: it is written while or after the file is analysed.")
		}
		if err != nil {
			return nil, err
		}
		return &OpenFile{ResultFile: file, ReadSeeker: io.NewSectionReader(f, 0, file.Bytes), Closer: f}, nil
	}
	return nil, explain(ErrNotFound, "A job has no such file. Ask for the list of its files.")
}

// openResult opens a file that is finished, or as it grows. Of those that grow
// only the video and the log make sense.
func (q *Jobs) openResult(id, name, media string) (*os.File, ResultFile, error) {
	path := filepath.Join(q.folder(id), name)
	file := ResultFile{Name: name, Media: media, Complete: true}
	f, err := openRegular(path)
	if errors.Is(err, os.ErrNotExist) && (name == annotatedName || name == detectionsName) {
		file.Complete = false
		if f, err = openRegular(path + partSuffix); errors.Is(err, os.ErrNotExist) {
			file.Complete = true
			f, err = openRegular(path) // it was finished between the two
		}
	}
	if err != nil {
		return nil, file, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, file, err
	}
	file.Bytes, file.Modified = info.Size(), info.ModTime()
	file.Tag = fmt.Sprintf("%x-%x", file.Bytes, file.Modified.UnixNano())
	if !file.Complete {
		file.Tag = "growing-" + id
		switch name {
		case detectionsName:
			file.Bytes = min(file.Bytes, q.committedBytes(id))
		case annotatedName:
			file.Bytes = container.Whole(f, file.Bytes) // half a fragment ends a player
		}
	}
	return f, file, nil
}

// committedBytes is how much of a growing log stands.
func (q *Jobs) committedBytes(id string) int64 {
	j, err := q.Get(id)
	if err != nil {
		return 0
	}
	return j.ResultsBytes
}

// openRegular opens a file that a worker made, for reading. A worker has seen the
// bytes of strangers: what it leaves is neither followed elsewhere, if it is a
// link, nor waited for, if it is a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s in the results is not a file", filepath.Base(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readOutcome reads the summary of a folder that is complete, without its
// spaces. os.ErrNotExist: it is not.
func readOutcome(dir string) (json.RawMessage, error) {
	f, err := openRegular(filepath.Join(dir, summaryName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSummary+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", summaryName, err)
	}
	if len(raw) > maxSummary {
		return nil, fmt.Errorf("%s is larger than %d bytes", summaryName, maxSummary)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return nil, fmt.Errorf("read %s: %w", summaryName, err)
	}
	if b := out.Bytes(); len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("%s holds no summary", summaryName)
	}
	return out.Bytes(), nil
}

// settled is how many bytes of whole lines a job's log has: a cheap sign of
// progress. Whatever cannot be read counts as nothing.
func settled(dir string) int64 {
	f, err := openLog(dir)
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	buf := make([]byte, blockSize)
	for at := info.Size(); at > 0 && info.Size()-at < maxLine; {
		n := min(at, blockSize)
		at -= n
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return 0
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1
		}
	}
	return 0
}
