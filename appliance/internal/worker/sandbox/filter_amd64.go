package sandbox

import "golang.org/x/sys/unix"

const (
	filterable = true
	auditArch  = unix.AUDIT_ARCH_X86_64
)

// archRules are those of calls that only this architecture has.
func archRules() []rule { return []rule{keepsFiles(unix.SYS_OPEN, 1)} }

// archRefused are the older forms of what refused lists, and this processor's own.
func archRefused() []uintptr {
	return []uintptr{
		unix.SYS_FORK, unix.SYS_VFORK,
		unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
		unix.SYS_INOTIFY_INIT, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_SYSFS, unix.SYS__SYSCTL,
		unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT,
		unix.SYS_CREATE_MODULE, unix.SYS_QUERY_MODULE, unix.SYS_GET_KERNEL_SYMS,
	}
}
