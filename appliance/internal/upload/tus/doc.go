// Package tus is the road of resumable uploads over HTTP: tus 1.0.0 with creation,
// creation-with-upload, creation-defer-length, checksum, expiration and termination, and
// the IETF's draft (draft-ietf-httpbis-resumable-upload, interop versions 3 to 6).
//
// The protocol is spoken by tusd's handler; the bytes go to upload.Uploads, so what
// a client is told is durable. In front of the handler stands what it lacks: checksums,
// expiry, strict metadata, a bound on requests, and turns: a client that comes
// back after its connection died gets its upload at once, not when the dead
// connection is noticed.
package tus
