// Package viewer is a WHEP player for programs: it connects to a camera as a
// browser does, puts the pictures together and counts what came and what did not.
// Tests and benchmarks watch the box with it; the box itself does not use it.
//
// It decodes nothing. A picture counts when all of its packets came; losses that
// the box repairs in time (NACK) are no losses.
package viewer
