package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// stall is how long a download may go without a byte.
const stall = 30 * time.Second

var errStalled = fmt.Errorf("no data for %s: check the network, then try again", stall)

func isURL(from string) bool {
	return strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://")
}

// redact takes the user and the query, which may be credentials, off a URL.
func redact(from string) string {
	if !isURL(from) {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return "URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// download fetches a URL into a synced file and returns the sha256 of it.
func download(ctx context.Context, from, to string, progress func(done, total int64)) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", errors.New("the URL is not valid")
	}
	req.Header.Set("User-Agent", "watchpost")
	// Its own transport: closed with the download, no connection stays.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: stall, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", downloadError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s", resp.Status)
	}
	if resp.ContentLength > maxNetwork {
		return "", fmt.Errorf("the server offers %d bytes, more than the %d that a box can run", resp.ContentLength, maxNetwork)
	}
	body := &watched{r: resp.Body, total: resp.ContentLength, progress: progress, alive: func() { watch.Reset(stall) }}
	hash, err := storeNetwork(body, to)
	if err != nil {
		return "", downloadError(ctx, err)
	}
	return hash, nil
}

// downloadError says why, without the URL, which may hold credentials.
func downloadError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// watched reports what was read of a download.
type watched struct {
	r           io.Reader
	done, total int64
	progress    func(done, total int64)
	alive       func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.done += int64(n)
		w.alive()
		if w.progress != nil {
			w.progress(w.done, w.total)
		}
	}
	return n, err
}

// copyNetwork copies a file into a synced one and returns the sha256 of it.
func copyNetwork(from, to string) (string, error) {
	f, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return storeNetwork(f, to)
}

// storeNetwork writes a new file, syncs it and returns the sha256 of it.
func storeNetwork(r io.Reader, to string) (hash string, err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(r, maxNetwork+1))
	if err != nil {
		return "", err
	}
	if n > maxNetwork {
		return "", fmt.Errorf("it has more than the %d bytes that a box can run", maxNetwork)
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeSynced(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
