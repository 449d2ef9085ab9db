// Package packet cuts encoded pictures into RTP payloads: H.264 as in RFC 6184,
// packetization-mode 1, and VP8 as in RFC 7741. It says which of a peer's payload
// types such a stream fits, and opens no connection itself.
//
// Payloads of one picture share a buffer of their own; nothing of what was given
// is kept.
package packet
