// Package h264 reads as much of H.264 (ITU-T H.264, here "the standard") as it
// takes to hand a camera's own stream on without decoding it: where parameter
// sets and keyframes are, and whether a player that shows pictures in the order
// in which they come can show this stream.
//
// It reads bytes from outside: what is damaged is an error, never a panic.
package h264
