package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// keptCapabilities let root go on reading the source and filling the folder that it
// was given, whoever owns them. Landlock bounds which files that can be.
const keptCapabilities = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH

// dropCapabilities leaves every thread of a process of root's with those alone;
// other users have none.
func dropCapabilities() error {
	// The system call's structs (capabilities(7)), version 3: two words of each set.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	if sets[0] == (unix.CapUserData{}) && sets[1] == (unix.CapUserData{}) {
		return nil
	}
	sets = [2]unix.CapUserData{{
		Effective: sets[0].Effective & keptCapabilities, Permitted: sets[0].Permitted & keptCapabilities,
	}}
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
