package link

import (
	"encoding/json"
	"fmt"
)

// The most of what a message may hold. They are far above what a sound worker
// sends; they bound what a faulty one can make the control process keep.
const (
	MaxObjects = 4096
	MaxSide    = 1 << 16 // pixels
)

// checkValue tells whether v is the struct of kind and holds sound values. Both
// sides ask it, so that a mistake shows at the sender first.
func checkValue(kind Kind, v any) error {
	var ok bool
	var err error
	switch kind {
	case KindStart:
		var m Start
		if m, ok = v.(Start); ok {
			err = m.check()
		}
	case KindWant:
		_, ok = v.(Want)
	case KindKeyframe:
		var m Keyframe
		if m, ok = v.(Keyframe); ok && !m.Codec.Valid() {
			err = fmt.Errorf("%s is not known", m.Codec)
		}
	case KindThrottle:
		var m Throttle
		if m, ok = v.(Throttle); ok && m.MaxFPS < 0 {
			err = fmt.Errorf("negative rate %v", m.MaxFPS)
		}
	case KindStop, KindEnd, KindRefresh:
		ok = v == nil
	case KindSelect:
		var m Select
		if m, ok = v.(Select); ok {
			err = m.check()
		}
	case KindCredit:
		_, ok = v.(Credit)
	case KindGrow:
		var m Grow
		if m, ok = v.(Grow); ok {
			err = m.check()
		}
	case KindPause:
		_, ok = v.(Pause)
	case KindHello:
		var m Hello
		if m, ok = v.(Hello); ok && m.PID < 0 {
			err = fmt.Errorf("negative process id %d", m.PID)
		}
	case KindDetections:
		var m Detections
		if m, ok = v.(Detections); ok {
			err = m.check()
		}
	case KindStatus:
		var m Status
		if m, ok = v.(Status); ok {
			err = m.check()
		}
	case KindBeat:
		var m Beat
		if m, ok = v.(Beat); ok {
			err = m.check()
		}
	case KindFault:
		var m Fault
		if m, ok = v.(Fault); ok {
			err = m.check()
		}
	case KindDone:
		_, ok = v.(Done)
	case KindCommitted:
		var m Committed
		if m, ok = v.(Committed); ok && m.Bytes < 0 {
			err = fmt.Errorf("negative length %d", m.Bytes)
		}
	case KindConfined:
		var m Confined
		if m, ok = v.(Confined); ok && (m.LandlockABI < 0 || len(m.Missing) > MaxObjects) {
			err = fmt.Errorf("sandbox: Landlock ABI %d, %d protections missing", m.LandlockABI, len(m.Missing))
		}
	}
	if !ok {
		return fmt.Errorf("%w: a %T is not the value of a %s", ErrProtocol, v, kind)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

// decodeValue reads the JSON of a kind that is not binary. Unknown keys pass:
// a field that the next version adds does not end the link.
func decodeValue(kind Kind, b []byte) (any, error) {
	switch kind {
	case KindStart:
		return decode[Start](kind, b)
	case KindWant:
		return decode[Want](kind, b)
	case KindKeyframe:
		return decode[Keyframe](kind, b)
	case KindThrottle:
		return decode[Throttle](kind, b)
	case KindStop, KindEnd, KindRefresh:
		if len(b) != 0 {
			return nil, fmt.Errorf("%w: a %s carries nothing", ErrProtocol, kind)
		}
		return nil, nil
	case KindSelect:
		return decode[Select](kind, b)
	case KindCredit:
		return decode[Credit](kind, b)
	case KindGrow:
		return decode[Grow](kind, b)
	case KindPause:
		return decode[Pause](kind, b)
	case KindHello:
		return decode[Hello](kind, b)
	case KindDetections:
		return decode[Detections](kind, b)
	case KindStatus:
		return decode[Status](kind, b)
	case KindBeat:
		return decode[Beat](kind, b)
	case KindFault:
		return decode[Fault](kind, b)
	case KindDone:
		return decode[Done](kind, b)
	case KindCommitted:
		return decode[Committed](kind, b)
	case KindConfined:
		return decode[Confined](kind, b)
	}
	return nil, fmt.Errorf("%w: unknown %s", ErrProtocol, kind)
}

func decode[T any](kind Kind, b []byte) (any, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return v, checkValue(kind, v)
}

func (s Start) check() error {
	switch s.Mode {
	case "live", "file", "slate":
	case "session":
		if s.Session == nil {
			return fmt.Errorf("a session of nothing")
		}
	default:
		return fmt.Errorf("mode %q is not live, file, slate or session", s.Mode)
	}
	if s.Session != nil {
		if err := s.Session.check(); err != nil {
			return err
		}
	}
	if s.MaxFPS < 0 || s.Source.FPS < 0 || s.Threads < 0 {
		return fmt.Errorf("negative rate or thread count")
	}
	p := s.Picture
	if p.MaxHeight < 0 || p.MaxHeight > MaxSide || p.Bitrate < 0 || p.KeyframeInterval < 0 {
		return fmt.Errorf("picture height %d, bitrate %d or keyframe interval %v is out of range", p.MaxHeight, p.Bitrate, p.KeyframeInterval)
	}
	switch p.Boxes {
	case "", BoxesBurned, BoxesClient:
	default:
		return fmt.Errorf("boxes %q are not burned or client", p.Boxes)
	}
	if s.Source.Track < 0 {
		return fmt.Errorf("negative track %d", s.Source.Track)
	}
	if s.Feed != nil {
		if err := s.Feed.check(); err != nil {
			return err
		}
	}
	return checkSize(s.Source.Width, s.Source.Height)
}

func (g Grow) check() error {
	if g.Bytes < 0 {
		return fmt.Errorf("negative length %d", g.Bytes)
	}
	return nil
}

func (d Detections) check() error {
	if d.PTS < 0 || d.PTS > MaxPTS {
		return fmt.Errorf("PTS %v is out of range", d.PTS)
	}
	if len(d.Objects) > MaxObjects {
		return fmt.Errorf("%d objects, the most is %d", len(d.Objects), MaxObjects)
	}
	return checkSize(d.Width, d.Height)
}

func (s Status) check() error {
	switch s.State {
	case Connecting, Playing, Offline, Ended:
	default:
		return fmt.Errorf("state %q is not known", s.State)
	}
	return checkSize(s.Stream.Width, s.Stream.Height)
}

func (b Beat) check() error {
	if b.RSS < 0 || b.CPU < 0 || b.Analyse < 0 || b.Encode < 0 ||
		b.SourceFPS < 0 || b.AnalysedFPS < 0 || b.Position < 0 || b.Duration < 0 {
		return fmt.Errorf("negative measurement")
	}
	return nil
}

func (f Fault) check() error {
	switch f.Kind {
	case FaultNotFound, FaultRefused, FaultUnreachable, FaultNoVideo, FaultUnsupported,
		FaultDamaged, FaultModel, FaultOutput, FaultInternal:
		return nil
	}
	return fmt.Errorf("fault %q is not known", f.Kind)
}

func checkSize(w, h int) error {
	if w < 0 || h < 0 || w > MaxSide || h > MaxSide {
		return fmt.Errorf("size %dx%d is out of range", w, h)
	}
	return nil
}
