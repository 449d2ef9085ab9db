package sandbox

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// answer runs the filter on a call, without the kernel. The machine of package bpf
// reads words in network order, the kernel in its own.
func answer(t *testing.T, k kernel, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	raw, err := program(rules(k, 42))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 4096 {
		t.Fatalf("the filter has %d instructions, the kernel takes 4096", len(raw))
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter has an instruction that is none")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	var data [64]byte
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgument+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgument+8*i+4:], uint32(a>>32))
	}
	out, err := vm.Run(data[:])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(out)
}

func TestFilter(t *testing.T) {
	const threads = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	const other = 0x40000003 // AUDIT_ARCH_I386
	now := kernel{abi: 7, seccomp: true}
	for _, c := range []struct {
		name   string
		k      kernel
		arch   uint32
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", now, auditArch, unix.SYS_READ, nil, allow.Val},
		{"sendmsg", now, auditArch, unix.SYS_SENDMSG, nil, allow.Val},
		{"socket", now, auditArch, unix.SYS_SOCKET, nil, refuse.Val},
		{"read of another architecture", now, other, unix.SYS_READ, nil, refuse.Val},
		{"read of x32", now, auditArch, 0x40000000 | unix.SYS_READ, nil, unknown.Val},
		{"the last known call", now, auditArch, lastCall, nil, refuse.Val},
		{"the next call", now, auditArch, lastCall + 1, nil, unknown.Val},
		{"a thread", now, auditArch, unix.SYS_CLONE, []uint64{threads}, allow.Val},
		{"a process", now, auditArch, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, refuse.Val},
		{"a thread in a new namespace", now, auditArch, unix.SYS_CLONE, []uint64{threads | unix.CLONE_NEWNET}, refuse.Val},
		{"a signal to itself", now, auditArch, unix.SYS_TGKILL, []uint64{42, 43}, allow.Val},
		{"a signal to another", now, auditArch, unix.SYS_TGKILL, []uint64{41, 43}, refuse.Val},
		{"a signal to all", now, auditArch, unix.SYS_KILL, []uint64{1<<64 - 1}, refuse.Val},
		{"own limits read", now, auditArch, unix.SYS_PRLIMIT64, []uint64{0, 7, 0}, allow.Val},
		{"own limits read by id", now, auditArch, unix.SYS_PRLIMIT64, []uint64{42, 7, 0}, allow.Val},
		{"own limits set", now, auditArch, unix.SYS_PRLIMIT64, []uint64{0, 7, 0x1000}, refuse.Val},
		{"own limits set from high memory", now, auditArch, unix.SYS_PRLIMIT64, []uint64{0, 7, 1 << 32}, refuse.Val},
		{"another's limits read", now, auditArch, unix.SYS_PRLIMIT64, []uint64{41, 7, 0}, refuse.Val},
		{"open to read", now, auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_CLOEXEC}, allow.Val},
		{"open to write anew", now, auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDWR | unix.O_TRUNC}, allow.Val},
		{"open to read and empty", now, auditArch, unix.SYS_OPENAT, []uint64{0, 0, unix.O_TRUNC}, refuse.Val},
		{"truncate", now, auditArch, unix.SYS_TRUNCATE, nil, allow.Val},
		{"truncate where Landlock does not see it", kernel{abi: 2, seccomp: true}, auditArch, unix.SYS_TRUNCATE, nil, refuse.Val},
		{"a stream pair", now, auditArch, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK}, allow.Val},
		{"a datagram pair", now, auditArch, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, refuse.Val},
		{"an internet pair", now, auditArch, unix.SYS_SOCKETPAIR, []uint64{unix.AF_INET, unix.SOCK_STREAM}, refuse.Val},
		{"a device command", now, auditArch, unix.SYS_IOCTL, []uint64{3, vidiocQueryCap}, allow.Val},
		{"input to a terminal", now, auditArch, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, refuse.Val},
		{"input to a terminal, high half set", now, auditArch, unix.SYS_IOCTL, []uint64{0, 1<<32 | unix.TIOCSTI}, refuse.Val},
		{"a thread's name", now, auditArch, unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, allow.Val},
		{"the personality asked", now, auditArch, unix.SYS_PERSONALITY, []uint64{0xffffffff}, allow.Val},
		{"the personality set", now, auditArch, unix.SYS_PERSONALITY, []uint64{0x0040000}, refuse.Val},
	} {
		if got := answer(t, c.k, c.arch, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// No call is listed twice: the first rule would hide the second.
func TestRulesAreDistinct(t *testing.T) {
	seen := map[uint32]bool{}
	for _, r := range rules(kernel{abi: 1, seccomp: true}, 42) {
		if seen[r.number] {
			t.Errorf("call %d has two rules", r.number)
		}
		seen[r.number] = true
		if r.number > lastCall {
			t.Errorf("call %d is beyond the last known", r.number)
		}
	}
}
