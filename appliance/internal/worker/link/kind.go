package link

import "fmt"

func (k Kind) String() string {
	switch k {
	case KindStart:
		return "start"
	case KindWant:
		return "want"
	case KindKeyframe:
		return "keyframe"
	case KindThrottle:
		return "throttle"
	case KindStop:
		return "stop"
	case KindGrow:
		return "grow"
	case KindPause:
		return "pause"
	case KindMedia:
		return "media"
	case KindSelect:
		return "select"
	case KindCredit:
		return "credit"
	case KindEnd:
		return "end"
	case KindHello:
		return "hello"
	case KindAccessUnit:
		return "access unit"
	case KindDetections:
		return "detections"
	case KindStatus:
		return "status"
	case KindBeat:
		return "beat"
	case KindFault:
		return "fault"
	case KindDone:
		return "done"
	case KindCommitted:
		return "committed"
	case KindConfined:
		return "confined"
	case KindResult:
		return "result"
	case KindRefresh:
		return "refresh"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Command tells whether k goes from the control process to the worker.
func (k Kind) Command() bool { return k >= KindStart && k <= KindEnd }

// Report tells whether k goes from the worker to the control process.
func (k Kind) Report() bool { return k >= KindHello && k <= KindRefresh }

func (c Codec) String() string {
	switch c {
	case H264:
		return "h264"
	case VP8:
		return "vp8"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Valid tells whether c is one of the codecs of the link.
func (c Codec) Valid() bool { return c == H264 || c == VP8 }
