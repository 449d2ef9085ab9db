package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/worker/sandbox/sandboxtest"
)

// try is something that a decoder that was taken over might do, or must be able to do.
type try struct {
	name string
	do   func(cell) error
	// abi is the Landlock that refuses it (0: none), and filter: the filter does.
	// With neither it must work.
	abi    int
	filter bool
	// rare: not everybody may do it outside of a sandbox (machine's settings, root),
	// so that its working there is no proof.
	rare bool
}

const (
	olderThread   = "a thread of Go's that was there before: "
	foreignThread = "a thread of C's that was there before: "
)

func tries() []try {
	var all []try
	for _, group := range [][]try{worksTries(), fileTries(), linkTries(), netTries(), processTries(), kernelTries()} {
		all = append(all, group...)
	}
	return all
}

// threadTries are tried on the other threads, by name.
func threadTries() []try {
	var all []try
	for _, who := range []string{olderThread, foreignThread} {
		all = append(all, try{name: who + "file", abi: 1}, try{name: who + "source"}, try{name: who + "socket", filter: true})
	}
	return all
}

func read(path string) error { _, err := os.ReadFile(path); return err }
func list(path string) error { _, err := os.ReadDir(path); return err }

func write(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }

// opens opens a file and leaves it as it is.
func opens(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		f.Close()
	}
	return err
}

// call makes a system call that gives or changes nothing if it is let through: it
// fails with another error than a refusal, which then is no failure.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	switch errno {
	case unix.EPERM, unix.EACCES, unix.ENOSYS:
		return errno
	}
	_ = r
	return nil
}

// worksTries are what a worker needs.
func worksTries() []try {
	return []try{
		{name: "read the source, grown since", do: func(c cell) error {
			text, err := os.ReadFile(c.Source)
			if err == nil && !strings.HasSuffix(string(text), "grown") {
				return fmt.Errorf("it is still %q", text)
			}
			return err
		}},
		{name: "read the model's folder", do: func(c cell) error {
			return errors.Join(list(c.Model), read(filepath.Join(c.Model, "model.onnx")))
		}},
		{name: "write results", do: func(c cell) error {
			part, whole := filepath.Join(c.Results, "a.part"), filepath.Join(c.Results, "a")
			f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			if err != nil {
				return err
			}
			_, err = f.WriteString("results")
			return errors.Join(err, f.Truncate(3), f.Sync(), f.Close(), os.Rename(part, whole), read(whole),
				write(whole), list(c.Results), os.Remove(whole))
		}},
		{name: "make and remove a folder in the results", do: func(c cell) error {
			dir := filepath.Join(c.Results, "sub")
			return errors.Join(os.Mkdir(dir, 0o755), write(filepath.Join(dir, "x")), os.RemoveAll(dir))
		}},
		{name: "load a library", do: func(cell) error { return sandboxtest.LoadLibrary("libanl.so.1") }},
		{name: "start threads", do: func(cell) error {
			done := make(chan error)
			for range 20 {
				go func() {
					runtime.LockOSThread() // which ends with the goroutine
					time.Sleep(time.Millisecond)
					done <- nil
				}()
			}
			for range 20 {
				<-done
			}
			_, err := sandboxtest.Start()
			return err
		}},
		{name: "make pipes, pairs and events", do: func(cell) error {
			var p [2]int
			_, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			_, err2 := unix.Eventfd(0, 0)
			_, err3 := unix.MemfdCreate("frames", 0)
			return errors.Join(err, err2, err3, unix.Pipe2(p[:], unix.O_CLOEXEC))
		}},
		{name: "use the harmless devices", do: func(cell) error {
			return errors.Join(opens("/dev/null", os.O_WRONLY), opens("/dev/urandom", os.O_RDONLY))
		}},
		{name: "know its own memory", do: func(cell) error {
			return errors.Join(read("/proc/self/statm"), read("/proc/self/maps"), read("/proc/cpuinfo"))
		}},
		{name: "signal its own thread", do: func(cell) error { return unix.Tgkill(os.Getpid(), unix.Gettid(), 0) }},
		{name: "read its limits", do: func(cell) error {
			var l unix.Rlimit
			return errors.Join(unix.Getrlimit(unix.RLIMIT_NOFILE, &l), unix.Prlimit(0, unix.RLIMIT_CORE, nil, &l))
		}},
	}
}

// fileTries go for what the user may read or write, and a worker may not.
func fileTries() []try {
	sf := func(name string, do func(cell) error) try { return try{name: name, do: do, abi: 1} }
	return []try{
		sf("read a file beside the source", func(c cell) error { return read(c.Neighbour) }),
		sf("read another upload", func(c cell) error { return read(c.Upload) }),
		sf("read /etc/passwd", func(cell) error { return read("/etc/passwd") }),
		sf("read the database", func(c cell) error { return read(c.Database) }),
		sf("read the password", func(c cell) error { return read(c.Password) }),
		sf("read it by way of /proc/self/root", func(c cell) error { return read("/proc/self/root" + c.Password) }),
		// Rare, since root without its capabilities may not either.
		{name: "read the parent's environment", do: func(c cell) error { return read(fmt.Sprintf("/proc/%d/environ", c.Parent)) }, abi: 1, rare: true},
		{name: "list the parent's files", do: func(c cell) error { return list(fmt.Sprintf("/proc/%d/fd", c.Parent)) }, abi: 1, rare: true},
		sf("list processes", func(cell) error { return list("/proc") }),
		sf("list the source's folder", func(c cell) error { return list(filepath.Dir(c.Source)) }),
		sf("list the data folder", func(c cell) error { return list(c.Root) }),
		sf("list the root", func(cell) error { return list("/") }),
		sf("list /etc", func(cell) error { return list("/etc") }),
		sf("write a temporary file", func(cell) error {
			f, err := os.CreateTemp("", "sandbox-")
			if err == nil {
				f.Close()
				os.Remove(f.Name())
			}
			return err
		}),
		sf("write beside the results", func(c cell) error { return write(c.Results + ".x") }),
		sf("write into the model", func(c cell) error { return write(filepath.Join(c.Model, "card.yaml")) }),
		sf("write to the source", func(c cell) error { return opens(c.Source, os.O_WRONLY) }),
		sf("append to the database", func(c cell) error { return opens(c.Database, os.O_WRONLY|os.O_APPEND) }),
		{name: "empty a file by its name", do: func(c cell) error { return os.Truncate(c.Root+"/victim", 0) }, abi: abiTruncate, filter: true},
		{name: "empty the source while opening it to read", do: func(c cell) error {
			return opens(c.Source+".2", os.O_RDONLY|os.O_TRUNC)
		}, abi: 1, filter: true},
		sf("remove a file", func(c cell) error { return os.Remove(c.Root + "/victim2") }),
		sf("make a folder", func(c cell) error { return os.Mkdir(c.Root+"/new", 0o755) }),
		{name: "write to another device", do: func(cell) error { return opens("/dev/full", os.O_WRONLY) }, abi: 1, rare: true},
		{name: "change a file's mode", do: func(c cell) error { return os.Chmod(c.Password, 0o600) }, filter: true},
		{name: "change the source's mode by its descriptor", do: func(c cell) error {
			f, err := os.Open(c.Source)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Chmod(0o600)
		}, filter: true},
		{name: "change a file's owner", do: func(c cell) error { return os.Chown(c.Password, os.Getuid(), os.Getgid()) }, filter: true},
		{name: "change a file's times", do: func(c cell) error { return os.Chtimes(c.Password, time.Now(), time.Now()) }, filter: true},
		{name: "set an attribute", do: func(c cell) error {
			err := unix.Setxattr(c.Password, "user.x", []byte("y"), 0)
			if errors.Is(err, unix.EOPNOTSUPP) {
				err = nil
			}
			return err
		}, filter: true},
	}
}

// linkTries make the results folder reach out of itself, or put traps into it.
func linkTries() []try {
	in := func(c cell, name string) string { return filepath.Join(c.Results, name) }
	sf := func(name string, do func(cell) error) try { return try{name: name, do: do, abi: 1} }
	return []try{
		sf("move a result out", func(c cell) error {
			return errors.Join(write(in(c, "out")), os.Rename(in(c, "out"), c.Root+"/out"))
		}),
		sf("move a file in", func(c cell) error { return os.Rename(c.Root+"/victim3", in(c, "in")) }),
		sf("rename a file beside the source", func(c cell) error { return os.Rename(c.Root+"/victim4", c.Root+"/victim5") }),
		sf("link the password into the results", func(c cell) error { return os.Link(c.Password, in(c, "password")) }),
		sf("link a result out", func(c cell) error { return errors.Join(write(in(c, "o2")), os.Link(in(c, "o2"), c.Root+"/o2")) }),
		sf("make a symbolic link in the results", func(c cell) error { return os.Symlink(c.Password, in(c, "link")) }),
		sf("make a symbolic link elsewhere", func(c cell) error { return os.Symlink(c.Password, c.Root+"/link") }),
		sf("make a pipe in the results", func(c cell) error { return unix.Mkfifo(in(c, "pipe"), 0o600) }),
		{name: "make a device in the results", do: func(c cell) error {
			return unix.Mknod(in(c, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}, abi: 1, rare: true},
	}
}

// socket makes a UDP socket, which is nothing yet.
func socket(cell) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func dial(network, address string) error {
	conn, err := net.DialTimeout(network, address, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if network == "udp" { // the others are connected, and may be closed from there already
		_, err = conn.Write([]byte("x"))
	}
	return err
}

func netTries() []try {
	return []try{
		{name: "connect by TCP", do: func(c cell) error { return dial("tcp", c.TCP) }, abi: abiTCP, filter: true},
		{name: "listen on TCP", do: func(cell) error {
			// Not net.Listen, whose sockets are multipath TCP's: Landlock does not know them.
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				return err
			}
			return unix.Listen(fd, 1)
		}, abi: abiTCP, filter: true},
		{name: "listen on multipath TCP", do: func(cell) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				l.Close()
			}
			return err
		}, filter: true},
		{name: "send by UDP", do: func(c cell) error { return dial("udp", c.UDP) }, abi: abiUDP, filter: true},
		{name: "make a UDP socket", do: socket, filter: true},
		{name: "make a netlink socket", do: func(cell) error {
			_, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		}, filter: true},
		{name: "make a packet socket", do: func(cell) error {
			_, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		}, filter: true, rare: true},
		{name: "connect to a Unix socket", do: func(c cell) error { return dial("unix", c.Unix) }, abi: abiUnix, filter: true},
		{name: "connect to an abstract socket", do: func(c cell) error { return dial("unix", c.Abstract) }, abi: abiScope, filter: true},
		{name: "make a pair of datagram sockets", do: func(cell) error {
			_, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			return err
		}, filter: true},
	}
}

func processTries() []try {
	return []try{
		{name: "run a program", do: func(cell) error {
			path, err := exec.LookPath("true")
			if err != nil {
				return err
			}
			return exec.Command(path).Run()
		}, abi: 1, filter: true},
		{name: "start a process by fork", do: func(cell) error { return fork(unix.SYS_CLONE, uintptr(unix.SIGCHLD)) }, filter: true},
		{name: "start a process by clone3", do: func(cell) error { return call(unix.SYS_CLONE3, 0, 0) }, filter: true},
		{name: "signal the parent", do: func(c cell) error { return unix.Kill(c.Parent, 0) }, abi: abiScope, filter: true},
		{name: "signal the parent's thread", do: func(c cell) error { return unix.Tgkill(c.Parent, c.Parent, 0) }, abi: abiScope, filter: true},
		{name: "signal the group", do: func(cell) error { return unix.Kill(0, 0) }, filter: true},
		{name: "hold on to the parent", do: func(c cell) error {
			fd, err := unix.PidfdOpen(c.Parent, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}, filter: true},
		{name: "trace the parent", do: func(c cell) error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			err := unix.PtraceSeize(c.Parent)
			if err == nil {
				err = unix.PtraceDetach(c.Parent)
				if errors.Is(err, unix.ESRCH) { // it was not stopped: it is let go when this thread ends
					err = nil
				}
			}
			return err
		}, abi: 1, filter: true, rare: true},
		{name: "read the parent's memory", do: func(c cell) error {
			var b [1]byte
			local, remote := unix.Iovec{Base: &b[0], Len: 1}, unix.RemoteIovec{Base: 1, Len: 1}
			_, err := unix.ProcessVMReadv(c.Parent, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
			if errors.Is(err, unix.EFAULT) { // it may, but there is nothing
				err = nil
			}
			return err
		}, abi: 1, filter: true, rare: true},
		{name: "open the parent's memory", do: func(c cell) error {
			return opens(fmt.Sprintf("/proc/%d/mem", c.Parent), os.O_RDONLY)
		}, abi: 1, rare: true},
		{name: "set the parent's priority", do: func(c cell) error {
			have, err := unix.Getpriority(unix.PRIO_PROCESS, c.Parent)
			if err != nil {
				return err
			}
			return unix.Setpriority(unix.PRIO_PROCESS, c.Parent, 20-have) // the system call gives 20 less
		}, filter: true, rare: true},
		{name: "set a limit", do: func(cell) error { return unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 4 << 20, Max: 4 << 20}) }, filter: true},
		{name: "raise the limit of open files", do: func(cell) error {
			return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}, nil)
		}, filter: true, rare: true},
		{name: "set the parent's limits", do: func(c cell) error {
			var l unix.Rlimit
			if err := unix.Prlimit(c.Parent, unix.RLIMIT_CORE, nil, &l); err != nil {
				return err
			}
			return unix.Prlimit(c.Parent, unix.RLIMIT_CORE, &l, nil)
		}, filter: true, rare: true},
		{name: "outlive the parent", do: func(cell) error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }, filter: true},
		{name: "leave its session", do: func(cell) error { return call(unix.SYS_SETSID) }, filter: true, rare: true},
		{name: "give its signals to the parent", do: func(c cell) error {
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				return err
			}
			_, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETOWN, c.Parent)
			return err
		}, filter: true},
	}
}

// fork starts a process that ends at once.
func fork(number uintptr, args ...uintptr) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	pid, _, errno := syscall.RawSyscall6(number, args[0], 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// zeros is memory that stays where it is.
var zeros [256]byte

// kernelTries knock at doors behind which the kernel's faults are found.
func kernelTries() []try {
	f := func(name string, number uintptr, args ...uintptr) try {
		return try{name: name, do: func(cell) error { return call(number, args...) }, filter: true, rare: true}
	}
	zero := uintptr(unsafe.Pointer(&zeros))
	return []try{
		f("bpf", unix.SYS_BPF, 0, zero, 64), f("userfaultfd", unix.SYS_USERFAULTFD, 0), f("perf", unix.SYS_PERF_EVENT_OPEN, zero, 0, 0, 0, 0),
		f("io_uring", unix.SYS_IO_URING_SETUP, 1, zero), f("mount", unix.SYS_MOUNT, zero, zero, zero), f("umount", unix.SYS_UMOUNT2, zero),
		f("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER), f("setns", unix.SYS_SETNS, 0, 0), f("chroot", unix.SYS_CHROOT, zero),
		f("keys", unix.SYS_KEYCTL, 0, 0), f("shared memory", unix.SYS_SHMGET, 0, 0, 0o600), f("message queues", unix.SYS_MQ_OPEN, zero, unix.O_CREAT, 0o600),
		f("handles", unix.SYS_OPEN_BY_HANDLE_AT, 0, zero, 0), f("inotify", unix.SYS_INOTIFY_INIT1, 0), f("fanotify", unix.SYS_FANOTIFY_INIT, 0, 0),
		f("modules", unix.SYS_DELETE_MODULE, zero, 0), f("kexec", unix.SYS_KEXEC_LOAD, 0, 1<<20, zero, 0), f("the clock", unix.SYS_CLOCK_SETTIME, 99, zero),
		f("the host's name", unix.SYS_SETHOSTNAME, zero, 1<<20), f("root", unix.SYS_SETUID, 0), f("capabilities", unix.SYS_CAPSET, zero, 0),
		f("asynchronous reads", unix.SYS_IO_SETUP, 1, zero), f("a call of the future", lastCall+100),
	}
}

// refusal tells whether an error of a try is the sandbox's.
func refusal(text string) bool {
	for _, errno := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EXDEV, fs.ErrPermission} {
		if strings.HasSuffix(text, errno.Error()) {
			return true
		}
	}
	return false
}
