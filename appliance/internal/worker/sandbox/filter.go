package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The offsets in struct seccomp_data (seccomp(2)): number, architecture,
// instruction pointer, six arguments of eight bytes. Both architectures are
// little-endian: the low half of an argument comes first.
const (
	offNumber   = 0
	offArch     = 4
	offArgument = 16
)

// What the filter answers. A refusal is an error, not a kill: a library that asks
// for what it can do without goes on without it.
var (
	allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	// refuse is for what a decoder has no business with.
	refuse = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	// unknown is for what libraries try first and do otherwise where it is not there.
	unknown = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
)

// rule is what becomes of one system call. Its body ends in an answer on every path.
type rule struct {
	number uint32
	body   []bpf.Instruction
}

// argument loads the low half of argument i; ints of the kernel have no more.
func argument(i uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offArgument + 8*i, Size: 4} }

// onlyIf lets a call pass whose argument is value.
func onlyIf(number uintptr, arg, value uint32) rule {
	return rule{uint32(number), []bpf.Instruction{
		argument(arg), bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipFalse: 1}, allow, refuse,
	}}
}

// notIf refuses a call whose argument is one of values.
func notIf(number uintptr, arg uint32, values ...uint32) rule {
	body := []bpf.Instruction{argument(arg)}
	for i, v := range values {
		body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	return rule{uint32(number), append(body, allow, refuse)}
}

// threadsOnly lets clone make threads of this process, in its own namespaces.
func threadsOnly(number uintptr) rule {
	const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	return rule{uint32(number), []bpf.Instruction{
		argument(0),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: spaces, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.CLONE_THREAD, SkipFalse: 1},
		allow, refuse,
	}}
}

// pairsOnly lets socketpair make Unix stream pairs, by which GStreamer wakes its
// threads: both ends are this process's, and cannot be connected elsewhere.
func pairsOnly() rule {
	return rule{uint32(unix.SYS_SOCKETPAIR), []bpf.Instruction{
		argument(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipFalse: 4},
		argument(1),
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipFalse: 1},
		allow, refuse,
	}}
}

// keepsFiles refuses an open that empties a file without asking to write to it:
// Linux lets it pass with the owner's right to write, and Landlock before ABI 3
// sees an open for reading.
func keepsFiles(number uintptr, flags uint32) rule {
	return rule{uint32(number), []bpf.Instruction{
		argument(flags),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.O_TRUNC, SkipFalse: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.O_WRONLY | unix.O_RDWR, SkipFalse: 1},
		allow, refuse,
	}}
}

// readsLimits lets prlimit64 read this process's limits, and set none.
func readsLimits(pid uint32) rule {
	return rule{uint32(unix.SYS_PRLIMIT64), []bpf.Instruction{
		argument(0),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: pid, SkipFalse: 5},
		argument(2), // the new limit: a pointer, of two halves
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 3},
		bpf.LoadAbsolute{Off: offArgument + 8*2 + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		allow, refuse,
	}}
}

// fioSetOwn is FIOSETOWN of asm-generic/sockios.h.
const fioSetOwn = 0x8901

// rules are the calls that are not simply allowed, for the process pid.
func rules(k kernel, pid uint32) []rule {
	list := append(archRules(),
		// Threads, and no processes.
		threadsOnly(unix.SYS_CLONE),
		rule{uint32(unix.SYS_CLONE3), []bpf.Instruction{unknown}}, // its flags are in memory: libc then takes clone
		pairsOnly(),
		readsLimits(pid),
		keepsFiles(unix.SYS_OPENAT, 2),
		rule{uint32(unix.SYS_OPENAT2), []bpf.Instruction{unknown}}, // as with clone3
		// Signals to this process's own threads.
		onlyIf(unix.SYS_KILL, 0, pid),
		onlyIf(unix.SYS_TGKILL, 0, pid),
		onlyIf(unix.SYS_RT_TGSIGQUEUEINFO, 0, pid),
		onlyIf(unix.SYS_RT_SIGQUEUEINFO, 0, pid),
		// Nor by way of a descriptor's owner; nor input to a terminal.
		notIf(unix.SYS_FCNTL, 1, unix.F_SETOWN, unix.F_SETOWN_EX),
		notIf(unix.SYS_IOCTL, 1, fioSetOwn, unix.SIOCSPGRP, unix.TIOCSTI, unix.TIOCLINUX),
		// A worker dies with its parent, and nobody may look into it.
		notIf(unix.SYS_PRCTL, 0, unix.PR_SET_PDEATHSIG, unix.PR_SET_PTRACER, unix.PR_SET_MM, unix.PR_SET_CHILD_SUBREAPER),
		onlyIf(unix.SYS_PERSONALITY, 0, 0xffffffff), // asks, and sets nothing
	)
	if k.abi < abiTruncate {
		// By name; ftruncate of what is open for writing is every worker's right.
		list = append(list, rule{uint32(unix.SYS_TRUNCATE), []bpf.Instruction{refuse}})
	}
	for _, number := range slices.Concat(refused(), archRefused()) {
		list = append(list, rule{uint32(number), []bpf.Instruction{refuse}})
	}
	return list
}

// program assembles the filter.
func program(list []rule) ([]bpf.RawInstruction, error) {
	code := []bpf.Instruction{
		// Another architecture's calls (32 bit on a 64-bit kernel) have other numbers.
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		// What is newer than these tables, and x86's x32 calls, which have a high bit.
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: lastCall, SkipFalse: 1},
		unknown,
	}
	for _, r := range list {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.number, SkipTrue: uint8(len(r.body))})
		code = append(code, r.body...)
	}
	raw, err := bpf.Assemble(append(code, allow))
	if err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	return raw, nil
}

// lastCall is the newest that these tables know of (open_tree_attr, Linux 6.15).
// The kernel numbers new calls alike on all architectures.
const lastCall = unix.SYS_OPEN_TREE_ATTR

// installFilter puts all threads under the filter.
func installFilter(k kernel) error {
	raw, err := program(rules(k, uint32(os.Getpid())))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	switch {
	case errno != 0:
		return errno
	case tid != 0:
		return fmt.Errorf("thread %d has a filter of its own", tid)
	}
	return nil
}
