// Package push is the client of a box: it pushes files over tus 1.0.0, waits for
// their analysis and fetches the results, all by the box's public addresses.
//
// Whatever breaks on the way is gone on with: a cut connection, a box that is
// started anew, and this program's own end, which a small file of memory outlives.
// Bytes that the box has acknowledged are never sent twice, bytes that it has not
// are never taken for sent, and the hash that the box states at the end is compared
// with the file's own.
package push
