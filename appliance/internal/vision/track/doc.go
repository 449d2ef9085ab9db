// Package track follows detections from frame to frame and gives them stable
// ids: ByteTrack (Zhang et al. 2022, arXiv:2110.06864) on a Kalman filter that
// works in seconds, so that variable frame rates, skipped and dropped frames
// need no special case.
//
// It promises: ids count from 1 and are never reused, no result holds an id
// twice, boxes are finite and inside the frame, memory is bounded by the
// configured number of objects, and [Tracker.At] never waits for an association
// that is under way.
//
// Its caveat: it knows boxes, not appearances. Two objects that meet, stop and
// part again may leave with each other's id.
package track
