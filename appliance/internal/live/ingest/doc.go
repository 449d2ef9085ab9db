// Package ingest turns the video track that a peer sends into access units: H.264 in
// Annex B with parameter sets in front of every keyframe (RFC 6184), or VP8 frames
// (RFC 7741). It knows the codecs and interceptors that make browsers send well.
//
// A frame is given with its last packet, without waiting for the next one: peers send
// frames by hand, and a session paced by its answers would come to a stand. Packets out of
// order are put in order, missing ones are asked for again (NACK) and waited for for a
// bounded time; then frames are left out up to the next keyframe, for which the peer is
// asked. So every unit that is given can be decoded after those given before.
//
// What the peer sends is bounded: packets held, bytes of a frame, parameter sets kept.
package ingest
