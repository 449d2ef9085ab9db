// Package movie writes the annotated video of a job: an MP4 that can be watched
// while it grows and be gone on with after a crash, and that ends as a file whose
// index is in front.
//
// While it grows the file is fragmented (ISO/IEC 14496-12 clause 8.8): a header,
// then fragments of about a second, each whole in itself. What lies before a Mark
// is on disk; Reopen cuts off whatever follows it and goes on. Finish copies the
// pictures behind an index of the whole, in memory that does not depend on the
// length, and leaves the growing file alone.
//
// The bytes of both depend on the units that were written and on nothing else: no
// clock, no random number; the finished file not even on where Commit was called.
//
// Parameter sets. Each keyframe of the growing file carries its own (sample entry
// avc3, ISO/IEC 14496-15 clause 5.4.2.1), so that an encoder that is started anew
// may choose others at any keyframe, when the header has long been read by
// somebody. The finished file has them once, in its sample entry (avc1, which
// every player knows), if they were the same all along; else it remains avc3.
//
// Readers of the growing file should be given whole fragments (gst/container has
// Whole for that): Chromium ends with an error in half of one.
//
// Time. The scale is 90 kHz, and frames keep their times: durations are the
// differences of presentation times, and the last frame lasts as long as the one
// before it. A first frame that is later than 0 stays where it is: by the
// fragments' own times while the file grows, by an edit list once it is finished.
package movie
