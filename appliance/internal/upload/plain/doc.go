// Package plain is the road of files over HTTP without any protocol of their own: one PUT or
// POST whose body is the file, as curl -T sends it.
//
// The answer comes when the file is whole, durable and checked, so a client that
// got 201 need not ask again. What a cut connection brought is kept: GET of the upload
// tells how far it is, and a PUT to its id with Content-Range goes on. What cannot be
// taken is refused before the body where the client waits for that (Expect: 100-continue).
package plain
