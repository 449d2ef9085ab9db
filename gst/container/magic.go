package container

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// magics are the kinds of files, told by their first bytes, surest first. The
// streamable ones among those without a look are read by parsers that know no
// seeking: a test reads files of each of them both ways.
var magics = []struct {
	kind       string
	streamable bool
	fits       func(b []byte) bool
	look       func(w *window) (Layout, error)
}{
	{kind: "mp4", fits: isMP4, look: lookMP4},
	{kind: "matroska", fits: prefix("\x1a\x45\xdf\xa3"), look: lookMatroska},
	{kind: "avi", fits: isAVI, look: lookAVI},
	{kind: "ogg", streamable: true, fits: prefix("OggS")},
	{kind: "flv", streamable: true, fits: prefix("FLV\x01")},
	{kind: "ivf", streamable: true, fits: prefix("DKIF")},
	{kind: "y4m", streamable: true, fits: prefix("YUV4MPEG2 ")},
	{kind: "asf", fits: prefix("\x30\x26\xb2\x75\x8e\x66\xcf\x11")},
	{kind: "mxf", fits: prefix("\x06\x0e\x2b\x34")},
	{kind: "jpeg", streamable: true, fits: prefix("\xff\xd8\xff")},
	{kind: "png", fits: prefix("\x89PNG\r\n\x1a\n")},
	{kind: "gif", fits: prefix("GIF8")},
	{kind: "bmp", fits: isBMP},
	{kind: "webp", fits: func(b []byte) bool { return riff(b, "WEBP") }},
	{kind: "mpegps", fits: prefix("\x00\x00\x01\xba"), look: lookMPEGPS},
	{kind: "mpegvideo", streamable: true, fits: prefix("\x00\x00\x01\xb3")},
	{kind: "mpegts", streamable: true, fits: isTS},
	{kind: "mpeg4", streamable: true, fits: isMPEG4},
	{kind: "h264", streamable: true, fits: isH264},
	{kind: "h265", streamable: true, fits: isH265},
}

func prefix(p string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(p)) }
}

// lookMPEGPS: packs follow each other, and a demuxer that reads at its own pace
// drops most of them on short files.
func lookMPEGPS(*window) (Layout, error) {
	return Layout{Kind: "mpegps", Index: None, Streamable: true, Forward: true}, nil
}

func riff(b []byte, form string) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == form
}

func isAVI(b []byte) bool { return riff(b, "AVI ") }

// firstBoxes are those that an MP4 or MOV begins with.
var firstBoxes = []string{"ftyp", "styp", "moov", "mdat", "free", "skip", "wide", "pnot", "uuid", "sidx", "moof"}

func isMP4(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	size := binary.BigEndian.Uint32(b)
	return slices.Contains(firstBoxes, string(b[4:8])) && (size == 0 || size == 1 || size >= 8)
}

func isBMP(b []byte) bool {
	return len(b) >= 30 && b[0] == 'B' && b[1] == 'M' && binary.LittleEndian.Uint32(b[6:]) == 0
}

// isTS looks for packets one after the other: of 188 bytes, of 192 with a time in
// front of each (Blu-ray, AVCHD), of 204 with a check sum behind.
func isTS(b []byte) bool {
	for _, p := range []struct{ size, at int }{{188, 0}, {192, 4}, {204, 0}} {
		n := 0
		for at := p.at; at < len(b) && b[at] == 0x47; at += p.size {
			n++
		}
		if n >= 5 {
			return true
		}
	}
	return false
}

// firstNAL is what follows the first start code, or nil.
func firstNAL(b []byte) []byte {
	code := bytes.Index(b, []byte{0, 0, 1})
	if code < 0 || code > 3 || len(bytes.Trim(b[:code], "\x00")) > 0 || len(b) < code+5 {
		return nil
	}
	return b[code+3:]
}

// isH264 takes a stream that begins with a parameter set or a delimiter (ITU-T
// H.264 table 7-1).
func isH264(b []byte) bool {
	n := firstNAL(b)
	return n != nil && (n[0]&0x9f == 7 && n[0]&0x60 != 0 || n[0] == 9 && n[1]&0x1f == 0x10)
}

// isH265 takes one that begins with a parameter set or a delimiter of the base
// layer (ITU-T H.265 table 7-1).
func isH265(b []byte) bool {
	n := firstNAL(b)
	return n != nil && n[1]&0xf8 == 0 && n[1]&7 == 1 && slices.Contains([]byte{32, 33, 35}, n[0]>>1) && n[0]&0x81 == 0
}

// isMPEG4 takes a visual object sequence (ISO/IEC 14496-2 clause 6.2.2).
func isMPEG4(b []byte) bool {
	n := firstNAL(b)
	return n != nil && n[0] == 0xb0
}
