// Package session serves peers that speak to the box over WebRTC data channels:
// files in, results out.
//
// A session is one peer connection, answered at POST /api/v1/channel, and what
// its channels do. Channels are told apart by their label; each has a goroutine of
// its own, which reads, works and answers at its own pace, so that what one waits
// for (a disk, a slow reader) holds up that channel and nothing else. A peer that
// sends faster than its channel works is slowed by SCTP's window; a peer that reads
// slower than its channel writes is waited for within a bounded buffer.
//
// What a channel says is not this package's: the services are given to it by
// label. Only the results channel, a cursor on a job's log, is spoken here.
package session
