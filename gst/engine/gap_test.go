package engine

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/watchpost/watchpost/gst/plan"
)

// congested is a camera's address, through a proxy that holds all back for a while
// when it is told to, and then passes it on at once: TCP loses nothing.
func congested(t *testing.T, to string) (address string, hold func(time.Duration)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var until time.Time
	pass := func(dst, src net.Conn) {
		defer dst.Close()
		defer src.Close()
		buf := make([]byte, 1<<20)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			wait := time.Until(until)
			mu.Unlock()
			time.Sleep(wait)
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			all.Go(func() { pass(a, b) })
			all.Go(func() { pass(b, a) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String(), func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		until = time.Now().Add(d)
	}
}

// onlooker shows a camera's own units as viewers get them, which is from keyframes
// on and up to gaps, and checks that it could.
type onlooker struct {
	t    *testing.T
	clip map[string]int // slices → number of the unit

	showing           bool
	last              int // number of the unit shown last
	units, shown      int
	gaps, after, torn int // gaps; of these, those at a keyframe; units that are none of the clip
}

func look(t *testing.T, clip [][]byte) *onlooker {
	o := &onlooker{t: t, clip: map[string]int{}, last: -1}
	for i, u := range clip {
		o.clip[pictureOf(u)] = i
	}
	return o
}

func (o *onlooker) take(u Unit) {
	o.units++
	n, whole := o.clip[pictureOf(u.Data)]
	if !whole {
		o.torn++
	}
	if u.Gap {
		o.gaps++
		o.showing = false
		if u.Keyframe {
			o.after++
		}
	}
	if u.Keyframe {
		o.showing = true
	}
	if !o.showing {
		return
	}
	o.shown++
	switch {
	case !whole:
		o.t.Errorf("unit %d, keyframe %v, lacks a part, and was handed on as whole", o.units, u.Keyframe)
	case o.last >= 0 && n != (o.last+1)%len(o.clip) && n != 0:
		o.t.Errorf("picture %d follows %d", n, o.last)
	}
	o.last = n
}

// pictureOf is a unit's slices.
func pictureOf(unit []byte) string {
	var out []byte
	for _, nal := range bytes.Split(unit, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) > 0 && (nal[0]&0x1f == 1 || nal[0]&0x1f == 5) {
			out = append(append(out, nal...), '|')
		}
	}
	return string(out)
}

// A network that stands still for half a second, and then delivers everything,
// costs no picture: what comes at once waits for the decoder, or, on a machine
// without the time for it, is left out up to a keyframe.
func TestRTSPHiccup(t *testing.T) {
	clip := levels(t, 320, 240, 15)
	cam := &rtspCam{}
	cam.start(t, h264Track(t, clip), clip, false)
	address, hold := congested(t, cam.addr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o := look(t, clip)
	var warnings []string
	var first, newest time.Duration
	began := time.Now()
	err := Read(ctx, plan.Source{URL: "rtsp://" + address + "/live"}, Handlers{
		Frame:   func(f *Frame) { f.Release() },
		Warning: func(s string) { warnings = append(warnings, s) },
		NoUnits: func(s string) { t.Errorf("after %d units: %s", o.units, s); cancel() },
		Unit: func(u Unit) {
			if newest = time.Since(began); first == 0 {
				first = newest
			}
			switch o.take(u); o.units {
			case 3, 22, 52: // in the middle of a group
				hold(500 * time.Millisecond)
			case 90:
				cancel()
			}
		},
	})
	t.Logf("%d units from %v to %v, %d shown, %d gaps; %v", o.units, first, newest, o.shown, o.gaps, warnings)
	if !errors.Is(err, context.Canceled) || o.gaps != o.after || o.torn > 0 {
		t.Errorf("%v; %d gaps, %d of them before a keyframe; %d units were torn", err, o.gaps, o.after, o.torn)
	}
}

// What is lost on the way is told: no unit that lacks a part, and none that
// follows a hole, is taken for one that can be shown.
func TestRTSPLostPackets(t *testing.T) {
	const group = 8
	clip := made(t, "videotestsrc num-buffers=8 pattern=snow ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "+
		"x264enc tune=zerolatency sliced-threads=true threads=4 key-int-max=8 option-string=scenecut=0 bitrate=4000 ! "+
		"video/x-h264,profile=baseline,stream-format=byte-stream,alignment=au", "x264enc")
	if len(clip) != group {
		t.Fatalf("%d units", len(clip))
	}
	last := group - 1
	cases := []func(u, p, of int) bool{
		func(u, p, of int) bool { return u == 3 },
		func(u, p, of int) bool { return u == 3 && p == 0 },
		func(u, p, of int) bool { return u == 3 && p == of/2 },
		func(u, p, of int) bool { return u == 3 && p == of-1 },
		func(u, p, of int) bool { return u == last },
		func(u, p, of int) bool { return u == last && p == of-1 },
		func(u, p, of int) bool { return u == 0 },
		func(u, p, of int) bool { return u == 0 && p == of/2 },
		func(u, p, of int) bool { return u == 0 && p == of-1 },
	}
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			round, lost := 0, 0
			cam := &rtspCam{lost: func(u, p, of int) bool {
				if u == 0 && p == 0 {
					round++
				}
				// After each loss a group that is whole.
				n := round/2 - 1
				if n < 0 || n >= len(cases) || round%2 != 0 || !cases[n](u, p, of) {
					return false
				}
				lost++
				return true
			}}
			cam.start(t, h264Track(t, clip), clip, false)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			o := look(t, clip)
			told := 0
			err := Read(ctx, plan.Source{URL: cam.url(""), Transport: transport}, Handlers{
				Frame:   func(f *Frame) { f.Release() },
				Warning: func(s string) { told++ },
				NoUnits: func(s string) { t.Errorf("after %d units: %s", o.units, s); cancel() },
				Unit: func(u Unit) {
					if o.take(u); o.units == group*(2*len(cases)+2) {
						cancel()
					}
				},
			})
			t.Logf("%d packets lost, %d units, %d of them torn, %d gaps, %d shown", lost, o.units, o.torn, o.gaps, o.shown)
			if !errors.Is(err, context.Canceled) || lost < len(cases) || o.torn == 0 || o.gaps < len(cases) || told == 0 {
				t.Errorf("%v; %d packets lost, %d units torn, %d gaps, %d warnings", err, lost, o.torn, o.gaps, told)
			}
			if o.shown < o.units/3 {
				t.Errorf("%d of %d units shown", o.shown, o.units)
			}
		})
	}
}
