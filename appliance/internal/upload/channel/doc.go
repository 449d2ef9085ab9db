// Package channel is the data channel's road of an upload: the messages of the
// video_upload channel, without the connection that carries them.
//
// Binary messages are [chunk_index][total_chunks][payload], both numbers unsigned
// 32-bit little-endian, in any order, repeats allowed. A message of one byte or none
// is a keep-alive and is sent back. All chunks but the last have one size; where
// the client does not tell it, the first chunk that is not the last one does.
//
// Before its first chunk a client may send the text
// {"upload":{"name","size","chunk_size","sha256"?,"id"?}}. It is then told what is
// there already ({"upload":{"id","have","chunk_size","status"}}), what becomes durable
// ({"committed":{"id","have"}}) and the end ({"done":{"id","job","sha256"}}); have lists
// chunks, [[first,last],…], both included. With the id of an upload that was cut off,
// whatever road it came by, it goes on there.
package channel
