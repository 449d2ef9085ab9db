package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// carriesFile tells whether r's body is a file, or a part of one: its handler
// bounds it, and nothing before may.
func carriesFile(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return false
	}
	for _, road := range []string{"/api/v1/uploads", "/api/v1/tus"} {
		if r.URL.Path == road || strings.HasPrefix(r.URL.Path, road+"/") {
			return true
		}
	}
	return false
}

// mountRoads leads the addresses on which files come to their handlers. They
// are given the path as it came.
func mountRoads(mux *http.ServeMux, tus, bodies http.Handler) {
	mux.Handle("/api/v1/tus", tus)
	mux.Handle("/api/v1/tus/{$}", tus)
	mux.Handle("/api/v1/tus/{id}", tus)
	mux.Handle("POST /api/v1/uploads", bodies)
	mux.Handle("POST /api/v1/uploads/{$}", bodies)
	mux.Handle("PUT /api/v1/uploads", bodies) // who forgets the slash behind it would be sent elsewhere, without a word
	mux.Handle("PUT /api/v1/uploads/{$}", bodies)
	mux.Handle("PUT /api/v1/uploads/{name}", bodies)
}

// documentRoads describes the addresses that other handlers answer.
func documentRoads(doc *huma.OpenAPI) {
	text := &huma.Schema{Type: huma.TypeString}
	number := &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
	header := func(name, means string, s *huma.Schema, required bool) *huma.Param {
		return &huma.Param{Name: name, In: "header", Description: means, Schema: s, Required: required}
	}
	query := func(name, means string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: means, Schema: text}
	}
	bytes := map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	upload := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Upload"}}}
	problem := map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/ErrorModel"}}}
	wishes := []*huma.Param{
		query("sha256", "The whole file's sha256 in hex; a file that differs is refused"),
		query("model", "The model that is to analyse it; motion: none"), query("threshold", "Least confidence, 0 to 1"),
		query("classes", "Classes to keep, separated by commas"), query("gate", "true: analyse only where something moves"),
		query("max_fps", "Frames a second to analyse at the most"), query("track", "Which video track, from 0"),
		query("priority", "-100 to 100; higher goes first"), query("no_video", "true: make no annotated video"),
		query("no_job", "true: store the bytes, analyse nothing"),
	}
	add := func(op *huma.Operation) {
		op.Tags = []string{"Uploads"}
		doc.AddOperation(op)
	}
	digest := header("Repr-Digest", "RFC 9530: the whole file's sha-256", text, false)

	const plain = "As `curl -T FILE http://BOX/api/v1/uploads/` sends it. The answer comes when the file is whole, stored and checked. " +
		"A cut connection loses nothing: ask for the upload, and PUT the rest to its id with Content-Range. A refusal comes before the body where the client waits for it (Expect: 100-continue)."
	answers := map[string]*huma.Response{
		"201": {Description: "The whole file is stored and checked; Location names it", Content: upload},
		"202": {Description: "The part is stored; more is missing", Content: upload},
		"default": {Description: "Why not, and what to do. 409: the bytes or the range do not fit what is there; 410: it expired; 413: too large; 423: somebody else sends it; " +
			"460: the digest differs; 503: too many at once; 507: no room, and what came is kept", Content: problem},
	}
	add(&huma.Operation{OperationID: "put-upload", Method: http.MethodPut, Path: "/api/v1/uploads/{name}", Summary: "Send a file, or go on with one", Description: plain,
		Parameters: append([]*huma.Param{{Name: "name", In: "path", Required: true, Schema: text, Description: "The file's name; or an upload's id, to go on with it"},
			header("Content-Range", "bytes FIRST-LAST/SIZE: which part of the file this is", text, false), digest,
			header("Content-Digest", "RFC 9530: this body's sha-256", text, false)}, wishes...),
		RequestBody: &huma.RequestBody{Required: true, Content: bytes}, Responses: answers})
	add(&huma.Operation{OperationID: "post-upload", Method: http.MethodPost, Path: "/api/v1/uploads", Summary: "Send a file", Description: plain,
		Parameters:  append([]*huma.Param{query("name", "The file's name"), header("Content-Disposition", "May name the file, too", text, false), digest}, wishes...),
		RequestBody: &huma.RequestBody{Required: true, Content: bytes}, Responses: answers})

	const tus = "/api/v1/tus"
	resumable := header("Tus-Resumable", "1.0.0; not sent by clients of the IETF draft, which send Upload-Draft-Interop-Version", text, false)
	offset := header("Upload-Offset", "The first byte of this part", number, true)
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: text, Description: "The upload's id"}
	failed := &huma.Response{Description: "ERR_CODE: why not, and what to do", Content: map[string]*huma.MediaType{"text/plain": {Schema: text}}}
	add(&huma.Operation{OperationID: "tus-options", Method: http.MethodOptions, Path: tus, Summary: "What tus can do here",
		Responses: map[string]*huma.Response{"200": {Description: "Tus-Version, Tus-Extension, Tus-Checksum-Algorithm and Tus-Max-Size"}}})
	add(&huma.Operation{OperationID: "tus-create", Method: http.MethodPost, Path: tus, Summary: "Begin an upload (tus 1.0.0, or the IETF draft of resumable uploads)",
		Parameters: append([]*huma.Param{resumable, header("Upload-Length", "Bytes of the whole file", number, false), header("Upload-Defer-Length", "1: told later", text, false),
			header("Upload-Metadata", "filename, filetype, and the words that are query parameters here, each with its value in base64", text, false)}, wishes...),
		Responses: map[string]*huma.Response{"201": {Description: "Location names it"}, "default": failed}})
	add(&huma.Operation{OperationID: "tus-offset", Method: http.MethodHead, Path: tus + "/{id}", Summary: "How far an upload is",
		Parameters: []*huma.Param{id, resumable}, Responses: map[string]*huma.Response{"200": {Description: "Upload-Offset, Upload-Length, Upload-Expires"}}})
	add(&huma.Operation{OperationID: "tus-append", Method: http.MethodPatch, Path: tus + "/{id}", Summary: "Send the next part",
		Parameters: []*huma.Param{id, resumable, offset, header("Upload-Checksum", "ALGORITHM BASE64 of this part: sha1, sha256, sha512, md5 or crc32", text, false)},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/offset+octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		Responses: map[string]*huma.Response{"204": {Description: "Stored; Upload-Offset tells how far it is"}, "default": failed}})
	add(&huma.Operation{OperationID: "tus-remove", Method: http.MethodDelete, Path: tus + "/{id}", Summary: "Give an upload up",
		Parameters: []*huma.Param{id, resumable}, Responses: map[string]*huma.Response{"204": {Description: "Removed"}, "default": failed}})
}
