package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/watchpost/watchpost/appliance/internal/upload"
	"github.com/watchpost/watchpost/state"
)

// Conn is the channel. One goroutine reads; any may write, and writing may wait.
type Conn interface {
	Read(p []byte) (n int, text bool, err error)
	Write(p []byte) error
	WriteText(p []byte) error
}

// Uploads is what of the uploads is needed.
type Uploads interface {
	Create(ctx context.Context, s upload.Spec) (upload.Info, error)
	Get(id string) (upload.Info, error)
	SetSize(ctx context.Context, id string, size int64) error
	Fits(size int64) error
	Place(id string, offset int64, data []byte) error
	Flush(ctx context.Context, id string) error
	Watch(id string, deliver func(upload.Info)) (stop func())
}

// Options are what the box knows besides the channel.
type Options struct {
	// JobOf is the newest job of a complete upload; "": there is none. nil: there are no jobs.
	JobOf func(upload string) string
	// Name, Settings and NoJob are those of files that are not announced.
	Name     string
	Settings *state.Settings
	NoJob    bool
	// Heard, Begun, Complete and Failed, where they are not nil, tell of what happens: a message
	// came, of so many bytes (keep-alives included); an upload was begun or gone on with, before any
	// of its bytes; it is wholly there; nothing comes of it any more, for a reason
	// that no message of the client brought about (else Serve returns it). They return at once, are
	// called from several goroutines, Complete perhaps twice, and none after Serve has returned. With
	// Complete, Serve sees a file that wholly came to its end, even if the client has closed the channel.
	Heard    func(bytes int)
	Begun    func(id string, announced bool)
	Complete func(id string)
	Failed   func(id string, err error)
}

// maxMessage is the longest message that is taken, bytes: what SCTP
// implementations agree on by far (RFC 8841 section 6: 64 KiB unless told).
const maxMessage = 256 << 10

// ErrProtocol is the kind of error of a client that does not keep to the protocol.
var ErrProtocol = errors.New("upload protocol")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
}

// Serve takes files from c, one after the other, until the client closes it. Its
// error was told to the client. What is durable by then stays, for going on over
// whichever road.
func Serve(ctx context.Context, c Conn, u Uploads, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{ctx: ctx, conn: c, uploads: u, o: o}
	defer s.tellers.Wait()
	defer cancel()
	buf := make([]byte, maxMessage)
	for {
		n, text, err := c.Read(buf)
		if err == nil && o.Heard != nil {
			o.Heard(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			s.await()
			return nil
		case errors.Is(err, io.ErrShortBuffer):
			err = wrong("a message has more than %d bytes", len(buf))
		case err != nil:
			return err // the connection's: nobody is left to be told
		case n <= 1:
			// A keep-alive goes back as it came. SCTP has no empty messages: pion
			// and browsers send a marked zero byte, and take it off again.
			if err = s.echo(buf[:n], text); err != nil {
				return err
			}
			continue
		case text:
			err = s.announced(buf[:n])
		default:
			err = s.binary(buf[:n])
		}
		if err != nil {
			_ = c.WriteText(problem(err)) // who is gone learns nothing
			return err
		}
	}
}

// await sees the file to its end for who wants to know of it, if all of it came: the
// teller has given up by now, for its words reach nobody.
func (s *server) await() {
	if s.file == nil || s.o.Complete == nil || s.uploads.Flush(s.ctx, s.file.id) != nil {
		return
	}
	changed := make(chan struct{}, 1)
	stop := s.uploads.Watch(s.file.id, func(upload.Info) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		info, err := s.uploads.Get(s.file.id)
		switch {
		case err != nil, info.Status == state.UploadReceiving:
			return
		case info.Status == state.UploadComplete:
			s.o.Complete(info.ID)
			return
		case info.Status == state.UploadRefused:
			if s.o.Failed != nil {
				s.o.Failed(info.ID, fmt.Errorf("%w: the file is refused: %s", upload.ErrGone, info.Problem))
			}
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *server) echo(p []byte, text bool) error {
	if text {
		return s.conn.WriteText(p)
	}
	return s.conn.Write(p)
}

// problem is an error for the client.
func problem(err error) []byte {
	data, merr := json.Marshal(map[string]any{"error": map[string]string{"message": err.Error()}})
	if merr != nil {
		return []byte(`{"error":{"message":"an error that cannot be written"}}`)
	}
	return data
}

// server is one channel.
type server struct {
	ctx     context.Context
	conn    Conn
	uploads Uploads
	o       Options
	file    *file // that is being taken; nil: none yet
	tellers sync.WaitGroup
}

// begin makes info's upload the one that chunks belong to.
func (s *server) begin(info upload.Info, f *file) {
	if s.file != nil {
		s.file.teller.end()
	}
	f.id = info.ID
	if s.o.Begun != nil {
		s.o.Begun(f.id, f.announced)
	}
	f.teller = newTeller(s, f.id, f.layout, f.announced)
	s.file = f
	s.tellers.Go(f.teller.run)
}
