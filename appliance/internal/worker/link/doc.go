// Package link is the framed stream socket between the control process and a
// media worker: commands down; access units, detections, counters and faults up.
//
// A frame is a little-endian uint32 length of what follows, one byte of Kind, and
// the payload: JSON, but for AccessUnit, which is binary. A frame longer than
// MaxFrame ends the link with an error: a worker is not trusted more than a
// network peer, since it parses hostile files.
package link
