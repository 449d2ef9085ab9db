// Package peer makes WebRTC peer connections that share one UDP port, one TCP
// port and one certificate. It is the only place that configures pion: viewers
// (package live) and the session protocol both get their connections here.
//
// The UDP socket gathers what is written during [Factory.Burst] and hands it to
// the kernel in few calls: sendmmsg, with UDP segmentation offload for runs of
// equal-sized packets to one peer. A write never blocks for longer than
// [maxSendWait]; what the socket does not take by then is dropped and counted,
// as UDP may.
//
// The socket asks the kernel for the ICMP errors that its packets cause: so a peer whose
// process was killed is known to be gone seconds before ICE would give it up, and one
// that is merely stalled is not taken for it. See [Factory.Watch].
//
// ICE-TCP peers are written to through a bounded buffer each. When it is full the
// write reports 0 bytes, so that the caller can skip, and nothing blocks.
package peer
