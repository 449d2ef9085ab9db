package sandbox

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// systemPaths are what a worker reads of the system, found with strace(1) on Debian
// 12. Plugins, codecs and the model runtime are loaded when the first frame needs
// them, long after the sandbox stands.
func systemPaths() []string {
	paths := []string{
		"/usr", "/lib", "/lib64", "/lib32", // libraries, plugins, character sets, time zones; /lib* where /usr is not merged
		"/etc/ld.so.cache", // where the loader finds libraries
		"/etc/localtime",   // the log's time zone, where it is no link into /usr
		"/opt/vc/lib",      // the decoder libraries of older Raspberry Pi systems

		"/proc/self",                     // own memory, threads and stacks
		"/proc/cpuinfo", "/proc/meminfo", // what to optimise for: codecs, model runtime
		"/sys/devices/system/cpu", "/sys/devices/system/node", // how many cores, caches, memory banks: libc, model runtime
		"/sys/kernel/mm/transparent_hugepage", // how Go and malloc give memory back
	}
	// Where the user of the box has put plugins and libraries of his own.
	for _, name := range []string{
		"GST_PLUGIN_PATH", "GST_PLUGIN_PATH_1_0", "GST_PLUGIN_SYSTEM_PATH", "GST_PLUGIN_SYSTEM_PATH_1_0",
		"LD_LIBRARY_PATH", "LIBVA_DRIVERS_PATH",
	} {
		for _, dir := range filepath.SplitList(os.Getenv(name)) {
			if filepath.IsAbs(dir) {
				paths = append(paths, dir)
			}
		}
	}
	if len(hardware()) > 0 {
		// A driver's library finds its device's make, and a codec's media node its
		// video node, by way of these; libudev goes through them all, and keeps names.
		paths = append(paths, "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/run/udev/data")
	}
	return paths
}

// devices are the device nodes that a worker may use.
func devices() []string {
	return append([]string{
		"/dev/null", "/dev/zero",
		"/dev/urandom", "/dev/random", // seeds of libraries that do not use getrandom(2)
	}, hardware()...)
}

// hardware are decoders, encoders and accelerators. Cameras are not among them: a
// file has no business with what stands before the box.
func hardware() []string {
	var found []string
	for _, pattern := range []string{
		"/dev/dri/renderD*",                // VA-API, and GPUs without a screen
		"/dev/media*",                      // requests to stateless decoders
		"/dev/dma_heap/*", "/dev/dma_heap", // memory shared between devices
		"/dev/mpp_service", "/dev/rga", // Rockchip's own
		"/dev/nvidia*", // CUDA, NVDEC
	} {
		list, err := filepath.Glob(pattern)
		if err == nil { // the patterns are this package's own
			found = append(found, list...)
		}
	}
	nodes, _ := filepath.Glob("/dev/video*")
	for _, path := range nodes {
		if isCodec(path) {
			found = append(found, path)
		}
	}
	return found
}

// From linux/videodev2.h.
const (
	vidiocQueryCap = 0x80685600 // of struct v4l2_capability, 104 bytes
	capM2MMulti    = 0x00004000
	capM2M         = 0x00008000
	capDeviceCaps  = 0x80000000
)

// isCodec tells whether a video node turns memory into memory.
func isCodec(path string) bool {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var c struct {
		driver                        [16]byte
		card                          [32]byte
		bus                           [32]byte
		version, capabilities, device uint32
		reserved                      [3]uint32
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), vidiocQueryCap, uintptr(unsafe.Pointer(&c))); errno != 0 {
		return false
	}
	caps := c.capabilities
	if caps&capDeviceCaps != 0 {
		caps = c.device
	}
	return caps&(capM2M|capM2MMulti) != 0
}
