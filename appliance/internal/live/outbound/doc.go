// Package outbound is one peer's video track: encoded pictures go in, RTP goes out,
// with the timestamps that the caller gives and sequence numbers without gaps.
//
// It promises that Write never blocks; that a picture goes out whole or not at all, as
// long as the transport takes it; that nothing is kept beyond the queue and the history,
// both bounded; and that the peer's wishes for a keyframe reach the encoder at most
// every half second, however often they come.
//
// It makes no interceptors necessary: lost packets are answered from the history, sender
// reports are written here. Pictures are paced: a keyframe of 300 KB is 250 packets, more
// than a receive buffer of usual size takes at once.
package outbound
