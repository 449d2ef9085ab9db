// Package sandbox locks the process that it is called in: a media worker, before
// it opens a file that somebody pushed to the box. A decoder that such a file
// takes over can then read that file, write one folder of results, and reach
// nothing else: no other path, no network, no other process.
//
// Three locks, one behind the other, each on every thread, those of C libraries
// included:
//
//   - Landlock (landlock(7)): which files may be opened and how; TCP, signals and
//     abstract sockets where the kernel's version knows them.
//   - A filter on system calls (seccomp(2)): no sockets, no new processes or
//     programs, no other process's memory, no change of a file's owner or mode, no
//     mount, and nothing that a decoder has no business with.
//   - No new privileges, root's capabilities given up, and limits on open files
//     and core dumps.
//
// What the kernel lacks is reported (Report.Missing) and does without; what it has
// and cannot be set up is an error, and the caller must not go on.
//
// Not covered, since nothing in Linux does it for a process alone: names, sizes
// and times of files whose folder the user may pass through (stat(2)), and time
// and processor use.
package sandbox
