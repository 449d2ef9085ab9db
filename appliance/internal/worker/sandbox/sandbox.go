package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Policy is what the process may still do, beyond what every media worker needs
// (see system.go). Paths are absolute. A file is known by its inode: it may grow, but
// a file that takes its name later is another.
type Policy struct {
	// Read are files, and folders with all that is in them. What is not there when
	// Confine is called is passed over.
	Read []string
	// Write are folders in which files and folders may be made, written and
	// removed. Links, devices, sockets and pipes may not.
	Write []string
	// OpenFiles is the most descriptors at a time; 0: 1024.
	OpenFiles uint64
}

// Report says how strong a sandbox is, or would be.
type Report struct {
	// LandlockABI is the kernel's; 0: it has none.
	LandlockABI int
	// Seccomp: the kernel filters system calls.
	Seccomp bool
	// Missing names what this kernel lacks and what that means, one line each.
	Missing []string
}

// defaultOpenFiles is far above what a worker was seen to use (60).
const defaultOpenFiles = 1024

// Survey tells what Confine can do on this machine. It changes nothing.
func Survey() Report { return look().report() }

// Confine locks the process in, for good and on all threads. It is called once.
// When it fails the process is half locked in, and only good for ending.
func Confine(p Policy) (Report, error) { return confine(p, look()) }

// confine uses what k has.
func confine(p Policy, k kernel) (Report, error) {
	if err := p.check(); err != nil {
		return Report{}, fmt.Errorf("sandbox: %w", err)
	}
	// The rule for /proc/self holds as long as the kernel keeps that folder in
	// memory, which an open descriptor has it do. It is never closed.
	if _, err := unix.Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return Report{}, fmt.Errorf("sandbox: open /proc/self: %w", err)
	}
	if err := p.limit(); err != nil {
		return Report{}, fmt.Errorf("sandbox: %w", err)
	}
	if err := ll.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return Report{}, fmt.Errorf("sandbox: refuse new privileges: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return Report{}, fmt.Errorf("sandbox: give up capabilities: %w", err)
	}
	if k.abi > 0 {
		if err := p.landlock(k.abi); err != nil {
			return Report{}, fmt.Errorf("sandbox: Landlock: %w", err)
		}
	}
	// Last, for it refuses what the others are set up with.
	if k.seccomp {
		if err := installFilter(k); err != nil {
			return Report{}, fmt.Errorf("sandbox: filter system calls: %w", err)
		}
	}
	return k.report(), nil
}

func (p Policy) check() error {
	for _, list := range [][]string{p.Read, p.Write} {
		for _, path := range list {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("path %q is not absolute", path)
			}
		}
	}
	for _, dir := range p.Write {
		if st, err := os.Stat(dir); err != nil {
			return fmt.Errorf("the folder to write: %w", err)
		} else if !st.IsDir() {
			return fmt.Errorf("the folder to write: %s is none", dir)
		}
	}
	return nil
}

// limit sets the process's resource limits. Those that the control process knows
// better, memory and the size of a file, are its business (worker.Config).
//
// RLIMIT_NPROC is left alone: it counts every thread of the user on this machine,
// cameras' workers included. The filter refuses new processes instead, and the
// limit on memory bounds threads, each of which has a stack.
func (p Policy) limit() error {
	files := p.OpenFiles
	if files == 0 {
		files = defaultOpenFiles
	}
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	// Go's own, which also keeps its runtime from restoring what it found at start.
	lim := syscall.Rlimit{Cur: min(files, have.Max), Max: min(files, have.Max)}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("limit open files to %d: %w", files, err)
	}
	// A core would be a copy of the user's video where the system keeps cores.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("refuse core dumps: %w", err)
	}
	// Beyond RLIMIT_FSIZE a write shall fail (EFBIG) and be reported; the signal
	// would end the process without a word.
	signal.Ignore(syscall.SIGXFSZ)
	return nil
}
