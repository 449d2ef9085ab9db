package sandbox

import "golang.org/x/sys/unix"

const (
	filterable = true
	auditArch  = unix.AUDIT_ARCH_AARCH64
)

// archRules are those of calls that only this architecture has.
func archRules() []rule { return nil }

// archRefused are the older forms of what refused lists: a younger architecture
// has none.
func archRefused() []uintptr { return nil }
