package api

import "time"

// Camera is all that the box says about one camera at one moment. Values handed
// to this package are kept and read later: never change one afterwards.
type Camera struct {
	ID   string `json:"id" doc:"The camera's id in the configuration" example:"yard"`
	Name string `json:"name" doc:"The name to show" example:"Yard"`
	// State says whether there is a picture; Reason says in one line why not and what to do.
	State  string    `json:"state" enum:"starting,connecting,playing,offline,ended,failing,stopped" doc:"starting: the worker is being started; connecting: the source is being opened; playing: frames arrive; offline: the source cannot be had; ended: a file came to its end; failing: the worker dies again and again; stopped: the box is shutting down"`
	Reason string    `json:"reason,omitempty" doc:"Why there is no picture, and what to do about it"`
	Since  time.Time `json:"since" doc:"Since when State has held"`

	Stream   *Stream `json:"stream,omitempty" doc:"What the source sends, once known"`
	Analyser string  `json:"analyser,omitempty" doc:"The model's name, or motion" example:"yolox-nano"`
	Runtime  string  `json:"runtime,omitempty" doc:"The model's execution provider; empty for motion" example:"CPU"`
	Encoder  string  `json:"encoder,omitempty" doc:"The element that encodes the annotated picture" example:"openh264enc"`
	// Boxes and BoxesReason say where boxes are drawn.
	Boxes       string `json:"boxes,omitempty" enum:"burned,client" doc:"burned: boxes are drawn on the picture; client: the camera's own picture goes out untouched and the page draws them, from a data channel"`
	BoxesReason string `json:"boxes_reason,omitempty" doc:"Why boxes are burned though the configuration asks for client"`

	Ledger   Ledger   `json:"ledger"`
	Rates    Rates    `json:"rates"`
	Worker   *Worker  `json:"worker,omitempty" doc:"The media worker's process; absent while there is none"`
	Restarts Restarts `json:"restarts"`
	Viewers  int      `json:"viewers" doc:"Viewers connected at this moment"`
	// Objects are those of the newest analysed frame.
	Objects []Object `json:"objects" nullable:"false" doc:"The objects of the newest analysed frame"`
}

// Stream describes a source.
type Stream struct {
	Codec    string  `json:"codec,omitempty" example:"h264"`
	Width    int     `json:"width,omitempty" doc:"Pixels, after rotation"`
	Height   int     `json:"height,omitempty" doc:"Pixels, after rotation"`
	FPS      float64 `json:"fps,omitempty" doc:"Frames a second that the source announces"`
	Rotation int     `json:"rotation,omitempty" doc:"Degrees clockwise that were applied"`
	Decoder  string  `json:"decoder,omitempty" doc:"The element that decodes" example:"v4l2slh264dec"`
}

// Ledger accounts for every frame decoded since the camera's start:
// decoded = inferred + skipped + dropped + failed + pending.
type Ledger struct {
	Decoded         uint64 `json:"decoded"`
	Inferred        uint64 `json:"inferred"`
	Skipped         uint64 `json:"skipped" doc:"The sum of the frames left out on purpose"`
	SkippedMotion   uint64 `json:"skipped_no_motion"`
	SkippedRate     uint64 `json:"skipped_rate_limit"`
	SkippedHeat     uint64 `json:"skipped_heat"`
	Dropped         uint64 `json:"dropped" doc:"Frames that the analysis had no time for"`
	Failed          uint64 `json:"failed" doc:"Frames on which the analysis failed"`
	Pending         uint64 `json:"pending" doc:"Frames in hand at this moment"`
	PicturesSent    uint64 `json:"pictures_sent"`
	PicturesDropped uint64 `json:"pictures_dropped" doc:"Pictures that the encoder had no time for"`
	DecoderErrors   uint64 `json:"decoder_errors"`
	Balanced        bool   `json:"balanced" doc:"Whether every decoded frame is accounted for"`
}

// Settle returns the ledger with Skipped and Balanced worked out of the counters.
func (l Ledger) Settle() Ledger {
	l.Skipped = l.SkippedMotion + l.SkippedRate + l.SkippedHeat
	l.Balanced = l.Decoded == l.Inferred+l.Skipped+l.Dropped+l.Failed+l.Pending
	return l
}

// Rates are means over the last second.
type Rates struct {
	SourceFPS   float64 `json:"source_fps"`
	AnalysedFPS float64 `json:"analysed_fps"`
	AnalyseMS   float64 `json:"analyse_ms" doc:"Milliseconds a frame"`
	EncodeMS    float64 `json:"encode_ms" doc:"Milliseconds a frame"`
}

// Worker is the media worker's process.
type Worker struct {
	PID        int       `json:"pid"`
	RSS        int64     `json:"rss_bytes"`
	CPUSeconds float64   `json:"cpu_seconds"`
	Started    time.Time `json:"started"`
}

// Restarts says how often the worker had to be started anew, and why the last time.
type Restarts struct {
	Count  int        `json:"count"`
	Last   *time.Time `json:"last,omitempty"`
	Exit   string     `json:"exit,omitempty" doc:"How the last worker ended" example:"signal: killed"`
	Stderr []string   `json:"stderr,omitempty" doc:"Its last lines"`
}

// Object is one tracked object; coordinates are pixels of the frame, edges.
type Object struct {
	ID    int     `json:"id" doc:"Stable while the object is followed"`
	Label string  `json:"label" example:"person"`
	Score float32 `json:"score" doc:"Confidence, 0 to 1"`
	X0    float32 `json:"x0"`
	Y0    float32 `json:"y0"`
	X1    float32 `json:"x1"`
	Y1    float32 `json:"y1"`
}

// Detections is what the analysis says of one frame.
type Detections struct {
	Camera string `json:"camera"`
	Frame  uint64 `json:"frame" doc:"Counts the decoded frames of the worker's run, from 1"`
	PTS    int64  `json:"pts_ns"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	// Missed is filled in by this package.
	Missed  uint64   `json:"missed,omitempty" doc:"Detections left out just before this one because the reader was slow or asked for the latest only"`
	Objects []Object `json:"objects" nullable:"false"`
}

// Hardware is what this box has, each part proven by running it.
type Hardware struct {
	Decoders     []Element       `json:"decoders" nullable:"false"`
	Encoders     []Element       `json:"encoders" nullable:"false"`
	Accelerators []Accelerator   `json:"accelerators" nullable:"false" doc:"Execution providers of the model runtime"`
	Cameras      []CaptureDevice `json:"cameras" nullable:"false" doc:"Cameras attached to this box"`
	Sandbox      Sandbox         `json:"sandbox" doc:"How far this kernel lets workers that handle pushed files be locked in"`
}

// Sandbox is what the kernel has to lock a process in with.
type Sandbox struct {
	LandlockABI int      `json:"landlock_abi" doc:"The kernel's; 0: it has no Landlock" example:"7"`
	Seccomp     bool     `json:"seccomp" doc:"The kernel filters system calls"`
	Missing     []string `json:"missing" nullable:"false" doc:"What this kernel lacks, and what guards it or what a worker could then do, one line each"`
}

// Element is one candidate for decoding or encoding.
type Element struct {
	Codec   string `json:"codec" example:"h264"`
	Element string `json:"element" example:"v4l2slh264dec"`
	Kind    string `json:"kind,omitempty" doc:"How it works" example:"V4L2 stateless"`
	Proven  bool   `json:"proven" doc:"It did a small clip rightly"`
	Chosen  bool   `json:"chosen" doc:"It is the one in use for this codec"`
	Reason  string `json:"reason,omitempty" doc:"Why it was refused"`
}

// Accelerator is one execution provider of the model runtime.
type Accelerator struct {
	Name    string `json:"name" example:"CPU"`
	Proven  bool   `json:"proven"`
	Reason  string `json:"reason,omitempty" doc:"Why it was refused"`
	Version string `json:"version,omitempty"`
}

// CaptureDevice is a camera attached to this box.
type CaptureDevice struct {
	Path    string   `json:"path" example:"/dev/video0"`
	Name    string   `json:"name"`
	Formats []string `json:"formats,omitempty" example:"MJPEG 1920x1080 30/s"`
	Problem string   `json:"problem,omitempty" doc:"Why it cannot be used" example:"permission denied"`
}

// Model is one installed model.
type Model struct {
	Name    string   `json:"name"`
	Family  string   `json:"family" doc:"The output family" example:"yolox"`
	Licence string   `json:"licence"`
	Input   string   `json:"input,omitempty" example:"416x416 BGR"`
	Labels  []string `json:"labels" nullable:"false"`
	SHA256  string   `json:"sha256,omitempty"`
	UsedBy  []string `json:"used_by" nullable:"false" doc:"Ids of the cameras that use it"`
	Problem string   `json:"problem,omitempty" doc:"Why it cannot be used"`
}

// System is the control process.
type System struct {
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
	UptimeSeconds float64   `json:"uptime_seconds"`
	RSS           int64     `json:"rss_bytes"`
	Goroutines    int       `json:"goroutines"`
	Loops         []Loop    `json:"loops" nullable:"false" doc:"The control loops and how late they ran"`
	Queues        []Queue   `json:"queues" nullable:"false" doc:"The queues of the control process: each bounded, and what it dropped"`
	Notes         []string  `json:"notes,omitempty" doc:"What was out of the ordinary when the box started: a damaged database, what was restored"`
}

// Queue is all the queues of one name, such as those of every viewer.
type Queue struct {
	Name      string  `json:"name" example:"camera detections"`
	Policy    string  `json:"policy" enum:"block,drop-oldest,drop-newest,latest,refuse" doc:"What becomes of an item that finds its queue full: block: who brings it waits; drop-oldest and drop-newest: one is lost; latest: it replaces an older one on the same matter; refuse: who brings it is told"`
	Instances int     `json:"instances" doc:"How many queues of this name there are now"`
	Depth     int     `json:"depth" doc:"What they hold together"`
	Capacity  int     `json:"capacity" doc:"What they may hold together"`
	Fullest   float64 `json:"fullest" doc:"Share of its capacity that the fullest one holds"`
	Dropped   uint64  `json:"dropped" doc:"Items dropped, replaced or refused since the box began"`
}

// Loop is one control loop under the stall meter.
type Loop struct {
	Name      string     `json:"name"`
	P99MS     float64    `json:"p99_ms" doc:"Lateness, 99th percentile"`
	MaxMS     float64    `json:"max_ms" doc:"Lateness, greatest so far"`
	Stalls    uint64     `json:"stalls" doc:"Times it was late beyond its alarm"`
	LastStall *time.Time `json:"last_stall,omitempty"`
}
