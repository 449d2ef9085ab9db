// Package live serves cameras' pictures to WebRTC viewers. It owns the viewers
// and their sessions (WHEP, draft-ietf-wish-whep), and the fan-out: every encoded
// unit is cut into RTP payloads once, into a ring that all viewers read with a
// cursor of their own.
//
// Promises:
//
//   - Publish never blocks, whatever the viewers do. What a viewer could not
//     take in time is skipped up to a keyframe, and counted; its sequence
//     numbers stay gapless, so that it does not ask for what never was sent.
//   - A camera that restarts, or a slate that takes its place, goes on in the same
//     RTP stream: sequence numbers and timestamps continue.
//   - A keyframe is asked of the encoder at most once a second per rendition.
//   - A rendition is wanted from its producer only while somebody watches, and a
//     few seconds longer.
//
// A viewer starts at a keyframe. If one passed within the last second, the
// viewer is given it and what followed at once, at most a second's worth to
// decode, because the encoder would not make another so soon; otherwise
// one is asked for, which comes within a frame or two. Either way the first
// picture waits for nothing but the network, and no viewer has to decode and throw
// away a whole group of pictures.
//
// Viewers are paced: 40 packets at once, then 6000 a second, so that a keyframe or a
// joining viewer's replay fits the receive buffers on the way.
//
// Publishers (WHIP, RFC 9725) come to the same ports. What they send is put together
// frame by frame (package ingest) and given to whoever opened their name (Deps.Open);
// a name has one publisher, and one that is not heard of makes room for the next.
//
// For viewers no interceptors are used. Lost packets are answered from the ring, sender
// reports are written every few seconds, and there is no congestion control: the
// encoder is shared, one viewer's line cannot slow the others' picture.
//
// Nothing of a viewer's SDP reaches the WebRTC stack as it is: the offer is checked,
// and the stack is given one composed of what was checked, with the one video
// section and the one codec that will be sent. The other sections are refused in
// the answer.
//
// Listening on all addresses is done with one socket, so that addresses that come
// and go (DHCP, a hot-plugged adapter) need no restart: every answer lists those
// of that moment.
package live
