package boxtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
)

func (pl *pionPlayer) upload(ctx context.Context) {
	how := pl.p.Upload
	if how == nil {
		how = &sending{}
	}
	for i := range how.Pings {
		if _, err := pl.w.KeepAlive(ctx, byte('a'+i)); err != nil {
			pl.fault(err)
			return
		}
		pl.facts.Echoes = append(pl.facts.Echoes, [2]any{"bytes", 1.0})
	}
	data, err := os.ReadFile(pl.p.File)
	if err != nil {
		pl.fault(err)
		return
	}
	f := client.Film{ReaderAt: bytes.NewReader(data), Size: int64(len(data))}
	for i := range f.Chunks() {
		f.Order = append(f.Order, i)
	}
	if how.Repeat {
		for i := 0; i < f.Chunks(); i += 3 {
			f.Order = append(f.Order, i)
		}
	}
	if how.Shuffle {
		rng := rand.New(rand.NewPCG(1, 7))
		rng.Shuffle(len(f.Order), func(i, j int) { f.Order[i], f.Order[j] = f.Order[j], f.Order[i] })
	}
	f.Before = func(sent int) error {
		if how.Until > 0 && sent >= how.Until {
			return errors.New("that was all")
		}
		pl.facts.Uploaded += 48 << 10
		return nil
	}
	wrong := map[string][]byte{
		"total": head(0, uint32(f.Chunks())+1), "index": head(uint32(f.Chunks()), uint32(f.Chunks())),
		"length": {1, 2, 3, 4, 5}, "huge": head(0, 1<<32-1), "none": head(0, 0),
	}[how.Fault]
	switch {
	case how.Fault == "huge" || how.Fault == "none":
		f.Order = nil
	case wrong != nil:
		f.Order = f.Order[:len(f.Order)-1]
	}
	if len(f.Order) > 0 && pl.w.Upload(ctx, f) != nil || wrong == nil {
		return
	}
	if ch, err := pl.w.UploadChannel(ctx); err == nil {
		_ = ch.Send(ctx, wrong)
	}
}

// head is a chunk with a payload that does not matter.
func head(index, total uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, index)
	return append(binary.LittleEndian.AppendUint32(b, total), bytes.Repeat([]byte{'x'}, 100)...)
}

// look decodes the video track, as aiortc does by itself.
func (pl *pionPlayer) look() {
	if len(pl.units) == 0 {
		return
	}
	gstreamer(pl.t)
	units := make(chan engine.Encoded, len(pl.units))
	origin := pl.units[0].Timestamp
	for _, u := range pl.units {
		units <- engine.Encoded{Codec: u.Codec, Keyframe: u.Keyframe, Data: u.Data, PTS: time.Duration(u.Timestamp-origin) * time.Second / 90000}
	}
	close(units)
	ctx, cancel := context.WithTimeout(pl.t.Context(), 30*time.Second)
	defer cancel()
	err := engine.ReadUnits(ctx, plan.Source{}, units, engine.Handlers{
		Info: func(engine.Info) {},
		Frame: func(f *engine.Frame) {
			l := lookAt(f)
			pl.facts.Pictures = append(pl.facts.Pictures, picture{
				PTS:   int64(origin) + int64((f.PTS*90000+time.Second/2)/time.Second),
				Width: l.width, Height: l.height, Coloured: l.coloured, Left: l.left, Right: l.right,
			})
			f.Release()
		},
		Warning: func(s string) { pl.t.Logf("decode what came: %s", s) },
	}, nil)
	if err != nil {
		pl.t.Errorf("decode what came: %v", err)
	}
	if len(pl.facts.Pictures) != len(pl.units) {
		pl.t.Errorf("%d pictures came, %d could be decoded", len(pl.units), len(pl.facts.Pictures))
	}
}

// cameraUnits encodes n frames of the film for a client to send.
func cameraUnits(t *testing.T, codec string, n, fps int) []client.Unit {
	t.Helper()
	gstreamer(t)
	if n == 0 {
		n = 90
	}
	if fps == 0 {
		fps = 15
	}
	var units []client.Unit
	enc, err := engine.NewEncoder(plan.Encode{Codec: codec, Width: 320, Height: 240, FPSNum: fps, FPSDen: 1, GOP: 30, Live: true}, func(u engine.Unit) {
		units = append(units, client.Unit{Codec: codec, Keyframe: u.Keyframe, Data: u.Data, Timestamp: uint32((u.PTS*90000 + time.Second/2) / time.Second)})
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := engine.NewFrame(plan.I420, 320, 240)
		if err != nil {
			t.Fatal(err)
		}
		paint(f, i*clipFPS/fps)
		f.PTS = time.Duration(i) * time.Second / time.Duration(fps)
		if err := enc.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil || len(units) != n {
		t.Fatalf("%d pictures of %d frames: %v", len(units), n, err)
	}
	return units
}
