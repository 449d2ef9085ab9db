// Package rtcworker serves the WebRTC worker session protocol: an offer comes with a
// workflow and a source, and the peer gets frames back as video, documents, or both.
//
// A session is one peer connection, one media worker process, and one goroutine that
// decides: the control loop. Nothing in the loop waits. What does wait has a goroutine
// of its own, ended and waited for by the session: reading a data channel, writing
// documents at the peer's pace, taking an upload, taking the peer's camera, starting and
// reaping the worker. They tell the loop through one bounded queue of events, and share
// counters with it.
//
// This process moves bytes only. Frames are decoded, analysed, drawn, encoded and
// written down as documents in the session's worker; here a document is cut into
// messages and handed to SCTP as fast as the peer takes it, and no faster: credit tells
// the worker how far it may run ahead.
//
// A session's life: answered → connected → source known → worker started → running →
// last message delivered → closed. Whatever ends it, the order of taking down is the
// same: worker, channels, connection, unannounced upload, place in the server.
package rtcworker
