// Package health owns the knowledge whether the box works: readiness, the
// stall meter of the control loops, and what systemd is told of both.
//
// A control loop is a goroutine that others wait for: a select loop of the
// live road, of a camera, of the job queue. It must never block. The meter
// measures that it does not, in two ways: how late a timer of the loop is
// served, and how long its callbacks take. What takes too long is logged with
// the loop's name, counted, exported, and past a second limit an execution
// trace of the last seconds is written, while the loop still hangs.
//
// Measuring costs a loop one timer of 20 ms and some atomic additions; nothing
// here logs, writes or locks on a measured goroutine.
package health
