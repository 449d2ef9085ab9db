// Package boltfile reads bbolt's file format with suspicion.
//
// bbolt maps its file and trusts it: a damaged page makes it panic, in goroutines
// that nobody can recover, loop, or read beyond the end of the file, which ends
// the process. This package reads the same bytes page by page, believes none of
// them, and says whether bbolt can be let near the file. It also gives out the
// records, so that a file can be looked at without bbolt, and without writing to it.
//
// The format is bbolt's version 2 as its internal/common package defines it, in
// the byte order of little-endian machines, which is every one this runs on.
package boltfile
