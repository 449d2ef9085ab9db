package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// fileHash is what a file is known by.
type fileHash struct {
	sum   string
	bytes int64
	err   error
}

func hashFile(ctx context.Context, path string) fileHash {
	f, err := os.Open(path)
	if err != nil {
		return fileHash{err: err}
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, readerWithContext{ctx, f})
	return fileHash{sum: hex.EncodeToString(h.Sum(nil)), bytes: n, err: err}
}

// readerWithContext ends a long read when nobody waits for it any more.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
