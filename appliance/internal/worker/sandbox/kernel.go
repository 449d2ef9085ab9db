package sandbox

import (
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// kernel is what the running one has of what a sandbox is made of.
type kernel struct {
	abi     int  // of Landlock; 0: none
	seccomp bool // filters, for all threads at once
}

// The Landlock ABIs with which each right came (landlock(7), "VERSIONS").
const (
	abiRefer    = 2 // Linux 5.19
	abiTruncate = 3 // Linux 6.2
	abiTCP      = 4 // Linux 6.7
	abiIoctl    = 5 // Linux 6.10
	abiScope    = 6 // Linux 6.12
	abiUnix     = 9
	abiUDP      = 10
)

// signalErratum is fixed in a kernel whose scoped signals reach the process's own
// threads; without it (bit 2 of the errata) Go's runtime could not stop them.
const signalErratum = 1 << 1

func look() kernel {
	var k kernel
	if v, err := ll.LandlockGetABIVersion(); err == nil && v > 0 {
		k.abi = v
		if errata, err := ll.LandlockGetErrata(); v >= abiScope && (err != nil || errata&signalErratum == 0) {
			k.abi = abiScope - 1
		}
	}
	k.seccomp = filterable && canFilter()
	return k
}

// canFilter asks whether filters can refuse calls (SECCOMP_GET_ACTION_AVAIL, Linux
// 4.14; filters themselves and TSYNC are older).
func canFilter() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// report says what k lacks. A protection that the filter gives in Landlock's place
// is named all the same: there is one lock where there could be two.
func (k kernel) report() Report {
	r := Report{LandlockABI: k.abi, Seccomp: k.seccomp}
	say := func(lacking bool, what, then string) {
		if lacking && k.seccomp {
			r.Missing = append(r.Missing, what+": the system call filter alone guards it")
		} else if lacking {
			r.Missing = append(r.Missing, what+": "+then)
		}
	}
	if k.abi == 0 {
		r.Missing = append(r.Missing, "Landlock (Linux 5.13 or later, and landlock in its lsm= list): a worker may open any file that the box's user may")
	} else {
		say(k.abi < abiTruncate, "Landlock for truncation (ABI 3, Linux 6.2)", "a worker may empty files that the box's user may write")
	}
	say(k.abi < abiTCP, "Landlock for TCP (ABI 4, Linux 6.7)", "a worker may reach the network")
	say(k.abi < abiScope, "Landlock for signals and abstract sockets (ABI 6, Linux 6.12)", "a worker may end other processes of the box's user")
	if !k.seccomp {
		r.Missing = append(r.Missing, "system call filters (CONFIG_SECCOMP_FILTER): a worker may use UDP and Unix sockets, start processes, and change the mode of files that the box's user owns")
	}
	return r
}
