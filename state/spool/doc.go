// Package spool owns the bytes of uploads on disk: one file each, in one folder.
//
// A File says which of its bytes are durable, and nobody may believe more:
// Sync returns the ranges that were written before it began and that have reached
// the disk. After a failed sync the kernel marks the pages clean and reports
// success from then on, whether or not they were ever written (LSF/MM 2018,
// "PostgreSQL's fsync() surprise"); so all that was written since the last good
// sync is dropped from the books, and must be written again to count.
//
// A Dir works on an FS, which is Linux's in the product. Others exist for tests
// that need a disk that is full, broken or slow.
package spool
