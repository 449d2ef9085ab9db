// Package upload owns the life of the files that are pushed to the box: from the
// first byte, over whichever road, until nobody needs the file any more.
//
// What it promises:
//
//   - What is acknowledged is on disk. The bytes are synced, then the record says
//     so, then the caller learns it. After a crash the record decides; the file is
//     never trusted beyond it. Bytes whose sync failed do not count, even if a
//     later sync succeeds: the kernel forgets them after it has told the error once.
//   - Memory does not grow with files: an Append holds a few buffers of a bounded pool.
//   - Nobody waits for the disk who did not ask for it: Get, List and Watch read
//     memory, and no lock that they take is held across a system call.
//
// One upload has one record, and the database puts the changes of all uploads into as
// few transactions as the disk's pace asks for. Syncs of different
// files run beside each other in front of it. Both start at once when idle and
// gather while one is under way: a lone small write is quick, many are cheap.
package upload
