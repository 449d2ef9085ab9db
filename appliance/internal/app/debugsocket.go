package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// debugSocketName is the operator's socket in the data folder.
const debugSocketName = "debug.sock"

// debugSocket serves profiles to an operator of this machine. It is a socket in the
// file system and no port: what is in a profile is nobody's in the network, signed in
// or not. The file is its owner's alone, and who connects is asked for as well.
type debugSocket struct {
	listener *net.UnixListener
	folder   *os.File
	server   *http.Server
	log      *slog.Logger
}

// openDebugSocket makes the socket. What is there by its name is of a box that
// was killed: the caller holds the data folder's database. Without the socket (some
// file systems have none) the box runs as well; nil.
func openDebugSocket(dataDir string, log *slog.Logger) *debugSocket {
	d, err := listenDebug(dataDir, log)
	if err != nil {
		log.Warn("\"watchpost debug\" will not reach this box", "error", err)
		return nil
	}
	return d
}

func listenDebug(dataDir string, log *slog.Logger) (*debugSocket, error) {
	path := filepath.Join(dataDir, debugSocketName)
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way: it is no socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of a box that is gone: %w", err)
		}
	}
	folder, err := os.Open(dataDir)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// The socket's own mode is that of its file, from the first moment on (unix(7)
		// and the kernel's unix_bind).
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", shortPath(folder, debugSocketName))
	if err != nil {
		folder.Close()
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	d := &debugSocket{listener: l.(*net.UnixListener), folder: folder, log: log}
	d.server = &http.Server{
		Handler: d.guard(newProfiles()), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
	}
	if err := os.Chmod(path, 0o600); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// shortPath names a file of a folder in as few letters as a socket's address has
// room for (108, unix(7)), however deep the folder is. It holds while the folder is open.
func shortPath(folder *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + name
}

// run serves until ctx ends.
func (d *debugSocket) run(ctx context.Context) error {
	if d == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- d.server.Serve(d.listener) }()
	select {
	case <-ctx.Done():
	case err := <-ended:
		d.log.Warn("\"watchpost debug\" reaches this box no more", "error", err)
		<-ctx.Done()
		d.close()
		return nil
	}
	d.close()
	<-ended
	return nil
}

// close ends what is being profiled and removes the socket.
func (d *debugSocket) close() {
	if d == nil {
		return
	}
	_ = d.listener.Close() // removes the file, by way of the folder
	_ = d.server.Close()
	_ = d.folder.Close()
}

type peerKey struct{}

// peerOf is the user at the other end, as the kernel knows it (SO_PEERCRED, socket(7)).
func peerOf(c net.Conn) (uid uint32) {
	uid = ^uint32(0) // nobody
	u, ok := c.(*net.UnixConn)
	if !ok {
		return uid
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return uid
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = cred.Uid
		}
	})
	return uid
}

// guard lets in this process's own user and root.
func (d *debugSocket) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _ := r.Context().Value(peerKey{}).(uint32)
		if uid != 0 && uid != uint32(os.Geteuid()) {
			d.log.Warn("a stranger asked for a profile", "user", uid)
			http.Error(w, "this is for the box's own user and for root", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
