package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Uploads is what the routes need of the uploads. All of it may be called from
// many goroutines.
type Uploads interface {
	// List returns every upload, the oldest first.
	List() []Upload
	// Get returns one. Unknown id: ErrNotFound; one that expired or was removed: ErrGone.
	Get(id string) (Upload, error)
	// Remove ends an upload and drops its bytes; its jobs stay. Unknown id:
	// ErrNotFound; while a job reads it: ErrConflict.
	Remove(ctx context.Context, id string) error
	// Watch has deliver called with every later UploadEvent, until stop.
	// deliver returns at once; it may be called after stop.
	Watch(deliver func(UploadEvent)) (stop func())
}

// Upload is all that the box says about one upload, by whichever road its bytes
// come. Values handed to this package are kept and read later: never change one
// afterwards.
type Upload struct {
	ID         string     `json:"id" doc:"The upload's id, on every road" example:"u0006k3v9q8a1b2c3d4e5f6g7h"`
	Name       string     `json:"name" doc:"The file's name, as the client gave it" example:"yard.mp4"`
	Size       *int64     `json:"size" doc:"Bytes of the whole file; null: not known yet"`
	Received   int64      `json:"received" doc:"Bytes that are safely stored"`
	Contiguous int64      `json:"contiguous" doc:"Bytes safely stored from the first without a gap: where to go on from"`
	Have       [][2]int64 `json:"have" nullable:"false" doc:"Ranges that are safely stored, [from, to), in order; of more than 256 the first 256"`
	Status     string     `json:"status" enum:"receiving,checking,complete,refused" doc:"receiving: bytes are missing; checking: all are there and the hash is being made; complete: whole and checked; refused: problem says why"`
	SHA256     string     `json:"sha256,omitempty" doc:"Of the whole file, in hex, once complete"`
	Problem    string     `json:"problem,omitempty" doc:"Why it was refused or cannot go on, and what to do"`

	Created   time.Time  `json:"created"`
	Updated   time.Time  `json:"updated" doc:"When the newest bytes were stored"`
	Completed *time.Time `json:"completed,omitempty"`
	Expires   *time.Time `json:"expires,omitempty" doc:"When it is removed unless more bytes come"`
	Rate      float64    `json:"rate_bytes_per_s" doc:"Bytes a second that come in at this moment"`
	Left      *float64   `json:"left_s,omitempty" doc:"Seconds until the last byte at this rate, where that can be told"`

	Jobs  []string    `json:"jobs" nullable:"false" doc:"Ids of the jobs that analyse it"`
	Roads UploadRoads `json:"roads"`
}

// UploadRoads are the addresses at which an upload goes on.
type UploadRoads struct {
	Tus  string `json:"tus" doc:"tus 1.0.0, or the IETF draft of resumable uploads" example:"/api/v1/tus/u0006k3v9q8a1b2c3d4e5f6g7h"`
	Body string `json:"body" doc:"PUT with Content-Range" example:"/api/v1/uploads/u0006k3v9q8a1b2c3d4e5f6g7h"`
}

// UploadEvent is something that happened to an upload: exactly one field is set.
type UploadEvent struct {
	Upload  *Upload // its new state
	Removed string  // the id of one that is gone
}

func (e UploadEvent) id() string {
	if e.Upload != nil {
		return e.Upload.ID
	}
	return e.Removed
}

func (u Upload) whole() Upload {
	u.Have, u.Jobs = list(u.Have), list(u.Jobs)
	return u
}

type uploadList struct {
	Uploads []Upload `json:"uploads" nullable:"false"`
}

type removedUpload struct {
	ID string `json:"id"`
}

type uploadID struct {
	ID string `path:"id" maxLength:"64" doc:"The upload's id" example:"u0006k3v9q8a1b2c3d4e5f6g7h"`
}

// registerUploads puts the routes about uploads on mux; their bytes come over
// other handlers, which documentRoads describes.
func (t *routes) registerUploads(api huma.API) {
	const tag = "Uploads"
	huma.Register(api, operation("list-uploads", http.MethodGet, "/api/v1/uploads", "All uploads, the oldest first", tag), t.listUploads)
	huma.Register(api, operation("get-upload", http.MethodGet, "/api/v1/uploads/{id}", "One upload", tag, 404, 410), t.getUpload)
	remove := operation("remove-upload", http.MethodDelete, "/api/v1/uploads/{id}", "Remove an upload and its bytes", tag, 404, 409, 410)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, t.removeUpload)

	api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[removedUpload](), true, "RemovedUpload")
	events := operation("upload-events", http.MethodGet, "/api/v1/uploads/events", "What happens to the uploads", tag, 503)
	events.Description = "Server-sent events. `upload`: an Upload, first of all the present state, then when it changed, at most five times a second. " +
		"`removed`: a RemovedUpload. `alive`: after ten seconds without another event. A slow reader gets the newest state of each upload and never delays the box. " +
		"The stream ends after an hour or when the box shuts down: connect again."
	events.Responses = eventStreamResponse()
	huma.Register(api, events, t.uploadEvents)
	documentRoads(api.OpenAPI())
}

func (t *routes) listUploads(context.Context, *struct{}) (*body[uploadList], error) {
	return &body[uploadList]{uploadList{each(t.d.Uploads.List(), Upload.whole)}}, nil
}

func (t *routes) getUpload(_ context.Context, in *uploadID) (*body[Upload], error) {
	u, err := t.d.Uploads.Get(in.ID)
	if err != nil {
		return nil, t.p.of(err)
	}
	return &body[Upload]{u.whole()}, nil
}

func (t *routes) removeUpload(ctx context.Context, in *uploadID) (*struct{}, error) {
	if err := t.d.Uploads.Remove(ctx, in.ID); err != nil {
		return nil, t.p.of(err)
	}
	return nil, nil
}

func (t *routes) uploadEvents(context.Context, *struct{}) (*huma.StreamResponse, error) {
	release, err := t.feed.reserve()
	if err != nil {
		return nil, t.p.of(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer release()
		_, w := humago.Unwrap(ctx)
		t.tellUploads(ctx.Context(), w)
	}}, nil
}

func (t *routes) tellUploads(ctx context.Context, w http.ResponseWriter) {
	news := newNews[UploadEvent](t.d.Queues, uploadNews)
	defer news.close()
	stop := t.d.Uploads.Watch(news.put)
	defer stop()
	t.feed.run(ctx, w, tale{
		wake: news.wake,
		pace: eventPace,
		begin: func(s *stream) {
			for _, u := range t.d.Uploads.List() {
				s.event("upload", u.whole())
			}
		},
		more: func(s *stream) bool {
			events, lost := news.take()
			for _, e := range events {
				if e.Upload != nil {
					s.event("upload", e.Upload.whole())
				} else {
					s.event("removed", removedUpload{e.Removed})
				}
			}
			return !lost
		},
	})
}
