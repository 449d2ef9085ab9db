package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DebugOptions are what Program.Debug is asked for.
type DebugOptions struct {
	What    string // one of Profiles
	Seconds int    // 0: the box's own measure
	// Out is the file to write, "-" for standard output; "": goroutines are printed,
	// the others written to a file here whose name is told.
	Out string
	// The box's data folder is named directly, by a configuration, or is the usual one.
	DataDir, Config string
}

// Profiles are what a running box can be asked for.
func Profiles() []string {
	return []string{"cpu", "heap", "allocs", "goroutines", "trace", "block", "mutex"}
}

// lasting are the profiles of a time to come.
var lasting = []string{"cpu", "trace", "block", "mutex"}

// Debug fetches a profile from the box that runs with a data folder on this machine.
func (p Program) Debug(ctx context.Context, o DebugOptions) error {
	if !slices.Contains(Profiles(), o.What) {
		return of(ErrUsage, "there is no profile %q; there are %s", o.What, strings.Join(Profiles(), ", "))
	}
	if o.Seconds < 0 || o.Seconds > mostSeconds {
		return of(ErrUsage, "seconds are from 1 to %d", mostSeconds)
	}
	if o.Seconds > 0 && !slices.Contains(lasting, o.What) {
		return of(ErrUsage, "%s is of this moment: --seconds is for %s", o.What, strings.Join(lasting, ", "))
	}
	dir := o.DataDir
	if dir == "" && o.Config != "" {
		cfg, err := LoadConfig(o.Config)
		if err != nil {
			return err
		}
		dir = cfg.DataDir
	}
	if dir == "" {
		dir = usualData()
	}
	body, err := askBox(ctx, dir, o)
	if err != nil {
		return err
	}
	defer body.Close()
	return save(body, o)
}

// askBox asks the box of a data folder for a profile.
func askBox(ctx context.Context, dir string, o DebugOptions) (io.ReadCloser, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dialBox(ctx, dir) },
	}}
	query := ""
	if o.Seconds > 0 {
		query = "?seconds=" + strconv.Itoa(o.Seconds)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://box/"+o.What+query, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, of(ErrBox, "no box runs with the data folder %s: start it, or name its folder with --data", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, of(ErrBox, "the box with the data folder %s lets only its own user and root look inside: try again as one of them (sudo)", dir)
	case err != nil:
		return nil, of(ErrBox, "ask the box with the data folder %s: %w", dir, err)
	case res.StatusCode != http.StatusOK:
		defer res.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // what came of it
		return nil, of(ErrBox, "the box refuses: %s", strings.TrimSpace(string(why)))
	}
	return res.Body, nil
}

func dialBox(ctx context.Context, dir string) (net.Conn, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", shortPath(folder, debugSocketName))
}

// save writes a profile where it is wanted. A file is there whole, or not at all.
func save(body io.Reader, o DebugOptions) error {
	out := o.Out
	if out == "" && o.What == "goroutines" {
		out = "-"
	}
	if out == "-" {
		_, err := io.Copy(os.Stdout, body)
		return err
	}
	if out == "" {
		suffix := ".pprof"
		if o.What == "trace" {
			suffix = ".trace"
		}
		out = "watchpost-" + o.What + "-" + time.Now().Format("20060102T150405") + suffix
	}
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return of(ErrOutput, "write %s: %w", out, err)
	}
	n, err := io.Copy(f, body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && n == 0 {
		err = errors.New("the box sent nothing")
	}
	if err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		os.Remove(f.Name())
		return of(ErrOutput, "write %s: %w", out, err)
	}
	how := "go tool pprof "
	switch o.What {
	case "trace":
		how = "go tool trace "
	case "goroutines":
		how = "less "
	}
	fmt.Printf("%s: %d bytes; look at it with %s%s\n", out, n, how, out)
	return nil
}
