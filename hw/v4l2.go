package hw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// device is an open video node. The kernel reads and fills arg.
type device interface {
	Ioctl(request uint, arg []byte) error
	Close() error
}

// The requests, from linux/videodev2.h: direction, size of the argument, 'V', number.
// They are the same on all machines that Watchpost runs on.
const (
	vidiocQueryCap           = 0x80685600 // struct v4l2_capability, 104 bytes
	vidiocEnumFmt            = 0xc0405602 // struct v4l2_fmtdesc, 64 bytes
	vidiocGetFmt             = 0xc0d05604 // struct v4l2_format, 208 bytes
	vidiocEnumFrameSizes     = 0xc02c564a // struct v4l2_frmsizeenum, 44 bytes
	vidiocEnumFrameIntervals = 0xc034564b // struct v4l2_frmivalenum, 52 bytes
)

// Bits of v4l2_capability.capabilities and device_caps, and buffer types.
const (
	capCapture      = 0x00000001
	capCaptureMulti = 0x00001000
	capM2MMulti     = 0x00004000
	capM2M          = 0x00008000
	capMediaCentric = 0x20000000 // V4L2_CAP_IO_MC
	capDeviceCaps   = 0x80000000

	bufCapture      = 1
	bufCaptureMulti = 9

	sizeDiscrete = 1 // the same for intervals
)

// Enumerations that a driver never ends are cut off here, and so are a camera's modes.
const (
	maxEnumerated = 128
	maxModes      = 512
)

// mediaCentric is the problem of a node behind which somebody has to join sensor, converters
// and sizes first: until then it lists formats, and starting it fails.
const mediaCentric = "the end of a media pipeline that has to be set up first (media-ctl)"

type node int

// openV4L2 opens a node as a camera's user would. It does not wait for one that is busy.
func openV4L2(path string) (device, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return node(fd), nil
}

func (n node) Ioctl(request uint, arg []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n), uintptr(request), uintptr(unsafe.Pointer(unsafe.SliceData(arg))))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (n node) Close() error { return unix.Close(int(n)) }

// gone tells whether a node has no device behind it any more.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

// describe asks a device what it is; ok is false for what is no camera.
func describe(d device) (c Camera, ok bool, err error) {
	c.Modes = []Mode{}
	arg := make([]byte, 104)
	if err := d.Ioctl(vidiocQueryCap, arg); err != nil {
		if errors.Is(err, unix.ENOTTY) || gone(err) {
			return c, false, nil // not V4L2 at all, or unplugged meanwhile
		}
		return c, false, fmt.Errorf("ask what the device can do: %w", err)
	}
	c.Driver, c.Name, c.Bus = text(arg[:16]), text(arg[16:48]), text(arg[48:80])
	caps := u32(arg, 84)
	if caps&capDeviceCaps != 0 {
		caps = u32(arg, 88) // of this node, where the former is of all the driver's nodes
	}
	buffer := uint32(bufCapture)
	switch {
	case caps&(capM2M|capM2MMulti) != 0:
		return c, false, nil // a codec or a converter
	case caps&capCapture != 0:
	case caps&capCaptureMulti != 0:
		buffer = bufCaptureMulti
	default:
		return c, false, nil
	}
	if caps&capMediaCentric != 0 {
		c.Problem = mediaCentric
	}
	for index := range uint32(maxEnumerated) {
		arg := make([]byte, 64)
		put(arg, 0, index)
		put(arg, 4, buffer)
		if err := d.Ioctl(vidiocEnumFmt, arg); err != nil {
			return c, true, ended(err, "list its formats")
		}
		modes, err := sizes(d, u32(arg, 44))
		if len(modes) == 0 && err == nil {
			modes, err = current(d, buffer, u32(arg, 44))
		}
		c.Modes = append(c.Modes, modes...)
		if err != nil {
			return c, true, err
		}
		if len(c.Modes) >= maxModes {
			break
		}
	}
	return c, true, nil
}

// sizes lists the modes of one pixel format.
func sizes(d device, format uint32) ([]Mode, error) {
	var modes []Mode
	fourcc := fourCC(format)
	m := Mode{FourCC: fourcc}
	m.Media, m.Format = media(fourcc)
	for index := range uint32(maxEnumerated) {
		arg := make([]byte, 44)
		put(arg, 0, index)
		put(arg, 4, format)
		if err := d.Ioctl(vidiocEnumFrameSizes, arg); err != nil {
			return modes, ended(err, "list its sizes")
		}
		found := [][2]uint32{{u32(arg, 12), u32(arg, 16)}}
		ranged := u32(arg, 8) != sizeDiscrete
		if ranged {
			found = common(arg)
		}
		for _, size := range found {
			m := m
			m.Width, m.Height = int(size[0]), int(size[1])
			fps, err := rates(d, format, size[0], size[1])
			if err != nil {
				return modes, err
			}
			m.FPS = fps
			modes = append(modes, m)
		}
		if ranged {
			break // a range is the only entry
		}
	}
	return modes, nil
}

// current is the one mode of a pixel format whose sizes the driver does not list: that in
// force. Grabbers and HDMI receivers take what comes in and have no say.
func current(d device, buffer, format uint32) ([]Mode, error) {
	arg := make([]byte, 208)
	put(arg, 0, buffer)
	if err := d.Ioctl(vidiocGetFmt, arg); err != nil {
		return nil, ended(err, "ask for its size")
	}
	// Width and height are first in both the plain and the multi-planar format.
	width, height := u32(arg, 8), u32(arg, 12)
	if width == 0 || height == 0 {
		return nil, nil
	}
	m := Mode{FourCC: fourCC(format), Width: int(width), Height: int(height)}
	m.Media, m.Format = media(m.FourCC)
	var err error
	m.FPS, err = rates(d, format, width, height)
	return []Mode{m}, err
}

// common picks, out of a range of sizes, the usual ones and the largest.
func common(arg []byte) (found [][2]uint32) {
	minW, maxW, stepW := u32(arg, 12), u32(arg, 16), max(1, u32(arg, 20))
	minH, maxH, stepH := u32(arg, 24), u32(arg, 28), max(1, u32(arg, 32))
	for _, s := range [...][2]uint32{
		{3840, 2160}, {2560, 1440}, {1920, 1080}, {1280, 960}, {1280, 720}, {1024, 576},
		{800, 600}, {640, 480}, {640, 360}, {320, 240},
	} {
		w, h := s[0], s[1]
		if w >= minW && w <= maxW && h >= minH && h <= maxH && (w-minW)%stepW == 0 && (h-minH)%stepH == 0 {
			found = append(found, s)
		}
	}
	if largest := [2]uint32{maxW, maxH}; maxW > 0 && maxH > 0 && !slices.Contains(found, largest) {
		found = append([][2]uint32{largest}, found...)
	}
	return found
}

// rates lists the frame rates of a mode, highest first.
func rates(d device, format, width, height uint32) ([]float64, error) {
	var fps []float64
	for index := range uint32(maxEnumerated) {
		arg := make([]byte, 52)
		put(arg, 0, index)
		put(arg, 4, format)
		put(arg, 8, width)
		put(arg, 12, height)
		if err := d.Ioctl(vidiocEnumFrameIntervals, arg); err != nil {
			if err := ended(err, "list its frame rates"); err != nil {
				return nil, err
			}
			break
		}
		// An interval in seconds, as a fraction; of a range, the shortest and the longest.
		ends := []int{20}
		ranged := u32(arg, 16) != sizeDiscrete
		if ranged {
			ends = []int{20, 28}
		}
		for _, at := range ends {
			if n, d := u32(arg, at), u32(arg, at+4); n > 0 && d > 0 {
				fps = append(fps, float64(d)/float64(n))
			}
		}
		if ranged {
			break
		}
	}
	slices.Sort(fps)
	slices.Reverse(fps)
	return slices.Compact(fps), nil
}

// ended is nil for the error that ends an enumeration, or that says that a driver has
// none.
func ended(err error, what string) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func u32(b []byte, at int) uint32    { return binary.NativeEndian.Uint32(b[at:]) }
func put(b []byte, at int, v uint32) { binary.NativeEndian.PutUint32(b[at:], v) }

// text reads a string of C, and keeps out what would not print.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffd {
			return -1
		}
		return r
	}, s))
}

// fourCC is a format's four letters; bit 31 marks a big-endian variant.
func fourCC(v uint32) string {
	b := [4]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v>>24) & 0x7f}
	return text(append(b[:], 0))
}
