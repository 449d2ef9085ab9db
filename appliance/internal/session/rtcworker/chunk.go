package rtcworker

import (
	"encoding/binary"
	"encoding/json"
)

const (
	// chunkPayload is the most bytes of a document in one message, chunkHeader what is in
	// front of them: frame_id, chunk_index, total_chunks, each uint32 little-endian.
	chunkPayload = 48 << 10
	chunkHeader  = 12
)

// chunksOf is in how many messages a document of n bytes goes.
func chunksOf(n int) int { return max(1, (n+chunkPayload-1)/chunkPayload) }

// appendChunk appends message index of a document to b.
func appendChunk(b []byte, frame uint32, document []byte, index int) []byte {
	from := index * chunkPayload
	b = binary.LittleEndian.AppendUint32(b, frame)
	b = binary.LittleEndian.AppendUint32(b, uint32(index))
	b = binary.LittleEndian.AppendUint32(b, uint32(chunksOf(len(document))))
	return append(b, document[from:min(from+chunkPayload, len(document))]...)
}

// The documents that are written here: those of no frame.
type notice struct {
	Output   *struct{} `json:"serialized_output_data"` // always null
	Metadata *struct{} `json:"video_metadata"`         // always null
	Errors   []string  `json:"errors"`
	Complete bool      `json:"processing_complete"`
	Reason   *string   `json:"termination_reason"`
}

// noticeOf is a document that tells errors and nothing else.
func noticeOf(errors ...string) []byte { return notice{Errors: errors}.document() }

// lastWord is a session's last document. An empty reason: the source came to its end.
func lastWord(reason string, errors []string) []byte {
	n := notice{Errors: errors, Complete: true}
	if reason != "" {
		n.Reason = &reason
	}
	return n.document()
}

func (n notice) document() []byte {
	if n.Errors == nil {
		n.Errors = []string{}
	}
	data, err := json.Marshal(n)
	if err != nil { // strings and booleans: it cannot
		return []byte(`{}`)
	}
	return data
}
