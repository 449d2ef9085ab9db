// Package worker starts, watches and ends media worker processes: the same
// binary, one process per camera or job, spoken to over an inherited socket.
//
// A worker dies with the control process, is killed when its heartbeat stops or
// when it breaks the link's rules, and leaves neither a zombie nor a descriptor
// behind. Whoever starts one is told how it ended and its last words on stderr,
// and decides what to do next: restarting is not this package's business. What
// the worker process itself does is in the package media.
package worker
