package link

import "time"

// Kind tells the messages of the link apart. The values are the wire format.
type Kind uint8

// Commands, from the control process to the worker.
const (
	KindStart    Kind = 1  // Start, once, first
	KindWant     Kind = 2  // Want: which renditions somebody watches
	KindKeyframe Kind = 3  // Keyframe: the next picture of a rendition shall be one
	KindThrottle Kind = 4  // Throttle: analyse at most so many frames a second
	KindStop     Kind = 5  // Stop: finish what is in hand, say Done (not of half a file), exit
	KindGrow     Kind = 6  // Grow: a file that is still arriving has grown (mode "file")
	KindPause    Kind = 7  // Pause: rest, or go on (mode "file")
	KindMedia    Kind = 8  // AccessUnit of the peer's own track (Source.URL "peer:…")
	KindSelect   Kind = 9  // Select: other outputs from now on (mode "session")
	KindCredit   Kind = 10 // Credit: how far results may run ahead (mode "session")
	KindEnd      Kind = 11 // the peer's track is over: finish what came (Source.URL "peer:…")
)

// Reports, from the worker to the control process.
const (
	KindHello      Kind = 64 // Hello, once, first
	KindAccessUnit Kind = 65 // AccessUnit
	KindDetections Kind = 66 // Detections
	KindStatus     Kind = 67 // Status: what the worker is doing, when it changes
	KindBeat       Kind = 68 // Beat: twice a second; the sign of life, with the counters
	KindFault      Kind = 69 // Fault: why the worker gives up, before it exits
	KindDone       Kind = 70 // Done: a file's analysis is complete
	KindCommitted  Kind = 71 // Committed: results that will stand whatever happens (mode "file")
	KindConfined   Kind = 72 // Confined: the sandbox stands
	KindResult     Kind = 73 // Result: the document of one frame (mode "session")
	KindRefresh    Kind = 74 // the decoder needs a keyframe of the peer's track
)

// Codec of an encoded rendition.
type Codec uint8

// The codecs that viewers are served.
const (
	H264 Codec = 1
	VP8  Codec = 2
)

// Start is the whole of what a worker is to do.
type Start struct {
	// Camera is the id used in logs.
	Camera string `json:"camera"`
	// Name is what people call the camera; it is on the slate.
	Name string `json:"name,omitempty"`
	// Mode is "live" (drop what is late, reconnect is the supervisor's work),
	// "file" (every frame, as fast as it goes, results into OutDir),
	// "slate" (no source: show Slate until stopped) or "session" (what Session
	// says: results to one peer).
	Mode   string `json:"mode"`
	Source Source `json:"source"`
	// Model is the folder or file of the model; empty: the motion analyser.
	Model string `json:"model,omitempty"`
	// Threshold is the least score of a detection; 0: the model card's.
	Threshold float32 `json:"threshold,omitempty"`
	// Classes limits detections to these labels; empty: all.
	Classes []string `json:"classes,omitempty"`
	// Gate lets frames without motion pass by the model.
	Gate bool `json:"gate,omitempty"`
	// MaxFPS limits the frames a second that are analysed; 0: no limit.
	MaxFPS float64 `json:"max_fps,omitempty"`
	// Picture is how the annotated picture is encoded.
	Picture Picture `json:"picture"`
	// Slate is what viewers are told while there is no picture, and Since is
	// the wall-clock time from which there was none.
	Slate string    `json:"slate,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Session is what a peer asked for (mode "session").
	Session *Session `json:"session,omitempty"`
	// OutDir is where a file's results go (mode "file").
	OutDir string `json:"out_dir,omitempty"`
	// NoVideo leaves annotated.mp4 out (mode "file").
	NoVideo bool `json:"no_video,omitempty"`
	// Feed: the file is read as a stream, as far as it has arrived; nil: it is
	// whole and may be read in any order (mode "file").
	Feed *Grow `json:"feed,omitempty"`
	// Resume goes on from what an earlier run committed in OutDir, if that was
	// the same work; else, and without it, the work begins anew (mode "file").
	Resume bool `json:"resume,omitempty"`
	// Title is what messages and the summary call the source; empty: as its address names it.
	Title string `json:"title,omitempty"`
	// Confine has the worker lock itself in before it opens anything: it reads
	// Source and Model, writes OutDir, and reaches nothing else (mode "file").
	Confine bool `json:"confine,omitempty"`
	// SHA256 of the whole source in hex, where it is known (mode "file").
	SHA256 string `json:"sha256,omitempty"`
	// Threads is how many threads each stage (decode, model, encode) may use; 0: the worker decides.
	Threads int `json:"threads,omitempty"`
	// Refused decoder elements, as hw found them: never use these.
	RefusedElements []string `json:"refused_elements,omitempty"`
	// Decoders is the proven decoder element for each codec, best first ("h264": ["v4l2slh264dec","avdec_h264"]).
	Decoders map[string][]string `json:"decoders,omitempty"`
}

// Source names where frames come from.
type Source struct {
	// URL is a file path, rtsp://…, http(s)://… (MJPEG), /dev/videoN, test:PATTERN,
	// demo:, or peer:h264 or peer:vp8: access units that come as KindMedia.
	// It may hold credentials: log plan.Redact of it, never itself.
	URL string `json:"url"`
	// Transport of RTSP: "tcp", "udp" or "" (TCP first).
	Transport string `json:"transport,omitempty"`
	// Loop plays a file again from its start (mode "live").
	Loop bool `json:"loop,omitempty"`
	// Track is which of a file's video tracks is played; 0: the first.
	Track int `json:"track,omitempty"`
	// Width, Height and FPS ask a camera or a pattern for a format; 0: its own.
	Width  int     `json:"width,omitempty"`
	Height int     `json:"height,omitempty"`
	FPS    float64 `json:"fps,omitempty"`
}

// Picture says how the annotated picture is encoded.
type Picture struct {
	// MaxHeight scales larger pictures down; 0: as they come.
	MaxHeight int `json:"max_height,omitempty"`
	// Bitrate in bits a second; 0: chosen from the size.
	Bitrate int `json:"bitrate,omitempty"`
	// KeyframeInterval is the longest time between keyframes; 0: two seconds.
	KeyframeInterval time.Duration `json:"keyframe_interval_ns,omitempty"`
	// Boxes is BoxesBurned, or BoxesClient where the source allows it; empty: burned.
	Boxes string `json:"boxes,omitempty"`
}

// The ways in which viewers see boxes.
const (
	BoxesBurned = "burned" // drawn on the picture
	BoxesClient = "client" // drawn by the page, on the camera's own H.264
)

// Want says which renditions have viewers. A worker encodes nothing else.
type Want struct {
	H264 bool `json:"h264"`
	VP8  bool `json:"vp8"`
}

// Keyframe asks for a keyframe of one rendition.
type Keyframe struct {
	Codec Codec `json:"codec"`
}

// Throttle limits analysis; 0 lifts the limit. Reason goes to the ledger.
type Throttle struct {
	MaxFPS float64 `json:"max_fps"`
	Reason string  `json:"reason"`
}

// Grow says how much of an arriving file may be read.
type Grow struct {
	// Bytes from the file's start are durably there.
	Bytes int64 `json:"bytes"`
	// Complete: they are the whole file, whose hash is SHA256 (hex).
	Complete bool   `json:"complete,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
}

// Pause has a file's analysis rest, signs of life going on, while the machine is
// needed elsewhere.
type Pause struct {
	On     bool   `json:"on"`
	Reason string `json:"reason,omitempty"`
}

// Committed says that the first Seq lines of the results' log, Bytes bytes, are
// synced to disk. They never change from then on, whatever becomes of the worker.
type Committed struct {
	Seq   uint64 `json:"seq"`
	Bytes int64  `json:"bytes"`
}

// Confined says how strong a worker's sandbox is.
type Confined struct {
	// LandlockABI is the kernel's; 0: it has no Landlock.
	LandlockABI int `json:"landlock_abi"`
	// Missing names the protections that this kernel lacks, one line each.
	Missing []string `json:"missing,omitempty"`
}

// Hello is a worker's first message.
type Hello struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

// AccessUnit is one encoded picture: H.264 in Annex B, parameter sets in front
// of every keyframe, or one VP8 frame. It crosses the link in binary.
type AccessUnit struct {
	Codec    Codec
	Keyframe bool
	// Slate: the picture is the "offline" slate, not the camera's.
	Slate bool
	// Own: the source made the picture, not a worker's encoder. Its next
	// keyframe comes when the source pleases.
	Own bool
	// PTS is the presentation time in this worker's run.
	PTS time.Duration
	// Captured is CLOCK_MONOTONIC (ns) when the frame reached the box: one
	// clock for all processes of a machine, so that delay can be measured.
	Captured int64
	// Encode is how long the encoder had the frame.
	Encode time.Duration
	// Data is owned by the receiver.
	Data []byte
}

// Object is one tracked object; coordinates are pixels of the frame, edges.
type Object struct {
	ID    int     `json:"id"`
	Class int     `json:"class"`
	Label string  `json:"label"`
	Score float32 `json:"score"`
	X0    float32 `json:"x0"`
	Y0    float32 `json:"y0"`
	X1    float32 `json:"x1"`
	Y1    float32 `json:"y1"`
}

// Detections is what the analysis says of one frame.
type Detections struct {
	// Frame counts the decoded frames of this run, from 1.
	Frame  uint64        `json:"frame"`
	PTS    time.Duration `json:"pts_ns"`
	Width  int           `json:"width"`
	Height int           `json:"height"`
	// Objects as drawn on the picture of this PTS.
	Objects []Object `json:"objects"`
}

// State of a worker's source.
type State string

// The states of a source.
const (
	Connecting State = "connecting" // the source is being opened; viewers see the slate
	Playing    State = "playing"    // frames arrive
	Offline    State = "offline"    // the source failed; Reason says why
	Ended      State = "ended"      // a source that does not loop came to its end
)

// Status is sent whenever anything in it changes.
type Status struct {
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	Stream Stream `json:"stream"`
	// Analyser is "motion" or the model's name.
	Analyser string `json:"analyser"`
	// Runtime is the model's execution provider ("CPU"), empty for motion.
	Runtime string `json:"runtime,omitempty"`
	Encoder string `json:"encoder,omitempty"`
	// Boxes is how viewers see them now, and BoxesReason why that is not
	// BoxesClient though it was asked for.
	Boxes       string `json:"boxes,omitempty"`
	BoxesReason string `json:"boxes_reason,omitempty"`
}

// Stream describes the source once it is known.
type Stream struct {
	Codec    string  `json:"codec,omitempty"`
	Width    int     `json:"width,omitempty"`
	Height   int     `json:"height,omitempty"`
	FPS      float64 `json:"fps,omitempty"`
	Rotation int     `json:"rotation,omitempty"` // degrees clockwise applied
	Decoder  string  `json:"decoder,omitempty"`
}

// Ledger counts the end of every frame of one run. It balances:
// Decoded = Inferred + Skipped() + Dropped + Failed + Pending.
type Ledger struct {
	Decoded       uint64 `json:"decoded"`
	Inferred      uint64 `json:"inferred"`
	SkippedMotion uint64 `json:"skipped_no_motion"`
	SkippedRate   uint64 `json:"skipped_rate_limit"`
	SkippedHeat   uint64 `json:"skipped_heat"`
	Dropped       uint64 `json:"dropped"`
	Failed        uint64 `json:"failed"`
	Pending       uint64 `json:"pending"` // in hand at this moment
	PicturesSent  uint64 `json:"pictures_sent"`
	PicturesLate  uint64 `json:"pictures_dropped"` // encoder could not keep up
	DecoderErrors uint64 `json:"decoder_errors"`
}

// Skipped is the sum of the frames that were left out on purpose.
func (l Ledger) Skipped() uint64 { return l.SkippedMotion + l.SkippedRate + l.SkippedHeat }

// Balanced tells whether every decoded frame is accounted for.
func (l Ledger) Balanced() bool {
	return l.Decoded == l.Inferred+l.Skipped()+l.Dropped+l.Failed+l.Pending
}

// Beat is the sign of life.
type Beat struct {
	Ledger Ledger `json:"ledger"`
	// RSS is the worker's resident memory in bytes.
	RSS int64 `json:"rss_bytes"`
	// CPU is the processor time used so far.
	CPU time.Duration `json:"cpu_ns"`
	// Stages are mean times over the last second.
	Analyse time.Duration `json:"analyse_ns"`
	Encode  time.Duration `json:"encode_ns"`
	// Frames a second over the last second.
	SourceFPS   float64 `json:"source_fps"`
	AnalysedFPS float64 `json:"analysed_fps"`
	// Position and Duration of a file (mode "file"); Duration 0: unknown.
	Position time.Duration `json:"position_ns,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
}

// FaultKind is the kind of a fault, for exit codes and API errors.
type FaultKind string

// The faults that a worker reports.
const (
	FaultNotFound    FaultKind = "not_found"   // no such file or device
	FaultRefused     FaultKind = "refused"     // the camera refused the sign-in
	FaultUnreachable FaultKind = "unreachable" // no connection to the camera
	FaultNoVideo     FaultKind = "no_video"    // there is no video in it
	FaultUnsupported FaultKind = "unsupported" // a codec or container that this box cannot decode
	FaultDamaged     FaultKind = "damaged"     // nothing in it could be decoded
	FaultModel       FaultKind = "model"       // the model does not load or run
	FaultOutput      FaultKind = "output"      // results cannot be written
	FaultInternal    FaultKind = "internal"    // a fault of Watchpost
)

// Fault is why a worker gave up. Message is one line and says what to do.
type Fault struct {
	Kind    FaultKind `json:"kind"`
	Message string    `json:"message"`
}

func (f Fault) Error() string { return f.Message }

// Done ends a file's analysis.
type Done struct {
	Ledger Ledger `json:"ledger"`
	// Warnings are what was wrong with the file though it could be analysed.
	Warnings []string `json:"warnings,omitempty"`
}
