// Package livebench measures what a viewer costs the control process: CPU time
// per second and resident memory, at a number of viewers, over a baseline
// without any.
//
// The viewers are real WebRTC peers in a process of their own, started again
// from the same binary, so that decrypting and reassembly are not counted. The
// program that calls [Run] has to call [ClientMain] first thing in main, when
// [IsClient] says so.
//
// On loopback the kernel delivers a datagram within the sender's system call.
// That part of the receiver's work is therefore counted as ours, as it is for
// every server measured in this way.
package livebench
