package app

import (
	"context"
	"errors"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/api"
	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/appliance/internal/upload/intake"
	"github.com/watchpost/watchpost/appliance/internal/upload/plain"
	"github.com/watchpost/watchpost/appliance/internal/upload/tus"
	"github.com/watchpost/watchpost/state"
)

// uploads are the box's uploads as the API sees them.
type uploads struct {
	all *upload.Uploads
	// jobs returns the ids of an upload's jobs, and waits for nothing but a read of the database.
	jobs func(upload string) []string
}

// List implements api.Uploads.
func (s *uploads) List() []api.Upload {
	all := s.all.List()
	out := make([]api.Upload, len(all))
	for i, u := range all {
		out[i] = s.view(u)
	}
	return out
}

// Get implements api.Uploads.
func (s *uploads) Get(id string) (api.Upload, error) {
	u, err := s.all.Get(id)
	if err != nil {
		return api.Upload{}, uploadError(err)
	}
	return s.view(u), nil
}

// Remove implements api.Uploads.
func (s *uploads) Remove(ctx context.Context, id string) error {
	return uploadError(s.all.Remove(ctx, id))
}

// Watch implements api.Uploads.
func (s *uploads) Watch(deliver func(api.UploadEvent)) (stop func()) {
	return s.all.Watch("", func(u upload.Info) {
		if u.Status == upload.Removed {
			deliver(api.UploadEvent{Removed: u.ID})
			return
		}
		v := s.view(u)
		deliver(api.UploadEvent{Upload: &v})
	})
}

// uploadError says the kind of err in the API's words; its text is for the user already.
func uploadError(err error) error {
	for _, k := range []struct{ of, is error }{
		{upload.ErrNotFound, api.ErrNotFound}, {upload.ErrGone, api.ErrGone}, {upload.ErrBusy, api.ErrConflict},
		{upload.ErrConflict, api.ErrConflict}, {upload.ErrInvalid, api.ErrInvalid}, {upload.ErrTooLarge, api.ErrTooLarge},
		{upload.ErrTooMany, api.ErrUnavailable},
	} {
		if errors.Is(err, k.of) {
			return api.Explain(k.is, err.Error())
		}
	}
	return err
}

// shownRanges is of how many ranges an upload's view tells: one that comes out of order over
// the data channel may have thousands.
const shownRanges = 256

func (s *uploads) view(u upload.Info) api.Upload {
	v := api.Upload{
		ID: u.ID, Name: u.Name, Received: u.Received, Contiguous: u.Contiguous,
		Status: string(u.Status), SHA256: u.SHA256, Problem: u.Problem,
		Created: u.Created, Updated: u.Updated, Completed: moment(u.Completed), Rate: u.Rate,
		Jobs:  s.jobs(u.ID),
		Roads: api.UploadRoads{Tus: tus.Path + "/" + u.ID, Body: plain.Path + "/" + u.ID},
	}
	if u.Size >= 0 {
		v.Size = &u.Size
	}
	if u.Status == state.UploadReceiving {
		v.Expires = moment(u.Expires)
	}
	if u.ETA > 0 {
		left := u.ETA.Seconds()
		v.Left = &left
	}
	for _, e := range u.Have[:min(len(u.Have), shownRanges)] {
		v.Have = append(v.Have, [2]int64{e.From, e.To})
	}
	return v
}

// moment is t, or nil where there was none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// roads builds the HTTP roads of uploads. check tells whether settings can be had
// on this box; nil: all can.
func (b *box) roads(u *uploads, maxSize int64, check func(state.Settings) error) (t *tus.Handler, p *plain.Handler, err error) {
	turns := intake.NewTurns(0, b.registry, b.queues)
	t, err = tus.New(tus.Deps{Log: b.p.Log, Uploads: u.all, Turns: turns, Check: check}, tus.Config{MaxSize: maxSize})
	if err != nil {
		return nil, nil, err
	}
	p, err = plain.New(plain.Deps{
		Log: b.p.Log, Uploads: u.all, Turns: turns, Check: check,
		View: func(i upload.Info) any { return u.view(i) },
	}, plain.Config{})
	return t, p, err
}
