// Package mjpeg reads motion JPEG over HTTP, as cameras serve it: one response of
// type multipart/x-mixed-replace that never ends, with a JPEG picture in every part.
//
// It takes what cameras send rather than what RFC 2046 asks for: boundaries declared
// with their dashes, parts without a length or without any header, line ends of one
// byte. It signs in with what the address holds (Basic, and Digest of RFC 7616), and
// it takes any certificate, as it is done for RTSP: cameras sign their own.
//
// Nothing waits for ever, and nothing grows with what the other side sends: what a
// picture, a header or an answer may be is bounded. No credentials get into an error.
package mjpeg
