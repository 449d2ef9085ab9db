// Package intake is what the HTTP roads of an upload have in common: whose turn it
// is to write, bodies that end when nothing comes any more, the words with which a
// client describes its file, and what each error is over HTTP.
//
// It promises that a connection which died without a word keeps nobody waiting:
// of two requests for one upload the newer wins, and the older ends at once, with
// what it brought kept.
package intake
