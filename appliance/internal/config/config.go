package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The tags of the fields below are the one description of the file: the
// decoder takes the names and types from them, Validate the limits, Schema all.
//
//	doc      what the key means, for the schema
//	enum     the values allowed, separated by |
//	min,max  limits, written as in the file ("100ms", "20Mbit", "0.5")
//	pattern  a regular expression for the whole value
//	need     the key must be there and not empty
//	secret   the value is never quoted

// Config is the whole file. The zero value is not usable: start from Default.
type Config struct {
	Listen   string   `yaml:"listen" doc:"Address of the web page and the API, HOST:PORT. On a loopback address no sign-in is asked."`
	DataDir  string   `yaml:"data_dir" need:"yes" doc:"Folder for models, caches, traces and the generated password. Relative to the folder of this file."`
	Log      Log      `yaml:"log" doc:"What is logged, to standard error."`
	Auth     Auth     `yaml:"auth,omitempty" doc:"Sign-in, asked on every address that is not loopback."`
	WebRTC   WebRTC   `yaml:"webrtc" doc:"How viewers get their pictures."`
	Models   Models   `yaml:"models" doc:"Where models lie and which one is used."`
	Cameras  []Camera `yaml:"cameras,omitempty" doc:"The cameras of this box. None: the first V4L2 camera, or else a demo scene."`
	Uploads  Uploads  `yaml:"uploads" doc:"What files people may push to the box, and how long they are kept."`
	Jobs     Jobs     `yaml:"jobs" doc:"The analysis of pushed files."`
	Sessions Sessions `yaml:"sessions" doc:"WebRTC worker sessions: analyses that one client asks for and takes away at once."`
	Health   Health   `yaml:"health" doc:"When a control loop counts as stalled."`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level" enum:"debug|info|warn|error" doc:"The least level that is logged."`
	Format string `yaml:"format" enum:"text|json" doc:"One line of text or one JSON object per event."`
}

// Auth is the sign-in.
type Auth struct {
	PasswordFile string `yaml:"password_file,omitempty" doc:"File whose first line is the password. Absent: one is generated at the first start into data_dir/password."`
}

// WebRTC is the media side of viewing.
type WebRTC struct {
	Listen          string      `yaml:"listen,omitempty" doc:"HOST:PORT of the one UDP and the one TCP port that carry all media. Default: the host of listen, port 8555."`
	PublicAddresses []string    `yaml:"public_addresses,omitempty" doc:"IP addresses or host names to offer to viewers beside the box's own, when it stands behind a port forwarding."`
	ICEServers      []ICEServer `yaml:"ice_servers,omitempty" doc:"STUN and TURN servers. None is needed inside one network."`
	Offline         bool        `yaml:"offline,omitempty" doc:"Contact no STUN or TURN server, not even one that a client of a session names. For boxes without a way out."`
	MaxViewers      int         `yaml:"max_viewers" min:"1" max:"10000" doc:"How many viewers are served at once, all cameras together."`
	MaxPublishers   int         `yaml:"max_publishers" min:"0" max:"64" doc:"How many videos may be published at once under names that no camera has (/api/v1/whip/NAME). Each is a camera for as long as it lasts."`
}

// ICEServer is one STUN or TURN server.
type ICEServer struct {
	URLs       []string `yaml:"urls" need:"yes" doc:"stun:, stuns:, turn: or turns: URLs of one server."`
	Username   string   `yaml:"username,omitempty" doc:"User name, for TURN."`
	Credential string   `yaml:"credential,omitempty" secret:"yes" doc:"Password, for TURN."`
}

// Models is where models lie.
type Models struct {
	Dir     string `yaml:"dir,omitempty" doc:"Folder of the installed models. Default: models inside data_dir. Relative to the folder of this file."`
	Default string `yaml:"default" need:"yes" pattern:"[A-Za-z0-9][A-Za-z0-9._-]{0,127}" doc:"The model of cameras that name none: the name of an installed model, or motion."`
}

// Camera is one video source and what is done with it.
type Camera struct {
	ID         string        `yaml:"id" need:"yes" pattern:"[a-z0-9][a-z0-9_-]{0,63}" doc:"Short name, unique, used in addresses, logs and metrics."`
	Name       string        `yaml:"name,omitempty" doc:"What people call the camera. Default: the id."`
	Source     string        `yaml:"source" need:"yes" secret:"yes" doc:"rtsp://USER:PASSWORD@HOST/PATH, http://HOST/PATH (MJPEG), a file (played in a loop), /dev/videoN, whip: (what is published to /api/v1/whip/ID), test:PATTERN or demo:"`
	Transport  string        `yaml:"transport,omitempty" enum:"|tcp|udp" doc:"For rtsp:// and rtsps:// only. Empty: TCP first, then UDP."`
	Model      string        `yaml:"model,omitempty" pattern:"[A-Za-z0-9][A-Za-z0-9._-]{0,127}" doc:"Name of an installed model, or motion. Default: models.default."`
	Threshold  float32       `yaml:"threshold,omitempty" min:"0" max:"1" doc:"Least confidence of a detection. 0: the model's own."`
	Classes    []string      `yaml:"classes,omitempty" doc:"Keep only detections with these labels of the model. None: all."`
	MotionGate bool          `yaml:"motion_gate,omitempty" doc:"Spare the model while nothing moves."`
	MaxFPS     float64       `yaml:"max_fps,omitempty" min:"0" max:"240" doc:"Most frames analysed per second. 0: all."`
	Boxes      string        `yaml:"boxes" enum:"burned|client" doc:"How viewers see the boxes. burned: drawn on the picture, for any player. client: the camera's own H.264 goes out untouched, which spares the encoder, and the page draws them; where the source does not allow it, burned."`
	StallAfter time.Duration `yaml:"stall_after" min:"1s" max:"10m" doc:"When no frame came for so long, the camera's worker is killed and started anew."`
	Picture    Picture       `yaml:"picture" doc:"The annotated picture that viewers get."`
	Capture    Capture       `yaml:"capture,omitempty" doc:"The format asked of the source. For /dev/videoN and test: only."`
}

// Picture is how the annotated picture is encoded.
type Picture struct {
	MaxHeight        int           `yaml:"max_height,omitempty" min:"0" max:"8192" doc:"Larger pictures are scaled down to this height, in pixels. 0: as they come."`
	Bitrate          Bitrate       `yaml:"bitrate,omitempty" min:"0" max:"200Mbit" doc:"Bits per second: a number, or text such as 800kbit or 2Mbit. 0: chosen from the picture's size."`
	KeyframeInterval time.Duration `yaml:"keyframe_interval" min:"250ms" max:"60s" doc:"Longest time between two keyframes."`
}

// Capture is the format asked of a V4L2 camera or a test pattern.
type Capture struct {
	Width  int     `yaml:"width,omitempty" min:"0" max:"8192" doc:"Pixels. 0: the source's own."`
	Height int     `yaml:"height,omitempty" min:"0" max:"8192" doc:"Pixels. 0: the source's own."`
	FPS    float64 `yaml:"fps,omitempty" min:"0" max:"240" doc:"Frames per second. 0: the source's own."`
}

// Uploads bounds what is pushed to the box.
type Uploads struct {
	MaxSize Size          `yaml:"max_size" min:"1MiB" max:"16TiB" doc:"Largest file that is taken: bytes, or text such as 512MiB or 20GiB."`
	Quota   Size          `yaml:"quota" min:"0" max:"1024TiB" doc:"Most bytes that all uploads together may take, promised ones included. 0: as much as the disk has above reserve."`
	Reserve Size          `yaml:"reserve" min:"0" max:"1024TiB" doc:"Bytes of the disk that uploads leave free."`
	MaxOpen int           `yaml:"max_open" min:"1" max:"10000" doc:"Most uploads that may be unfinished at once."`
	Expiry  time.Duration `yaml:"expiry" min:"1m" max:"8760h" doc:"An unfinished upload that gets no bytes for so long is removed."`
	Keep    time.Duration `yaml:"keep" min:"0s" max:"87600h" doc:"How long a pushed file stays after its last analysis ended. Its results stay."`
}

// Jobs is how pushed files are analysed.
type Jobs struct {
	Concurrency  int           `yaml:"concurrency" min:"1" max:"64" doc:"How many files are analysed at once."`
	Retries      int           `yaml:"retries" min:"0" max:"100" doc:"How often an analysis is tried again after a fault that may pass."`
	PauseForLive bool          `yaml:"pause_for_live" doc:"Let files wait while a camera drops frames because the machine is busy."`
	Model        string        `yaml:"model,omitempty" pattern:"[A-Za-z0-9][A-Za-z0-9._-]{0,127}" doc:"The model for files: an installed one, or motion. Default: models.default."`
	Keep         time.Duration `yaml:"keep" min:"0s" max:"87600h" doc:"How long results are kept after the analysis ended. 0: until somebody deletes them."`
	MaxResults   Size          `yaml:"max_results" min:"16MiB" max:"16TiB" doc:"Largest single results file that one analysis may write."`
}

// Sessions bounds the WebRTC worker sessions.
type Sessions struct {
	Most        int           `yaml:"most" min:"0" max:"1000" doc:"How many sessions are served at once; each has a process of its own. 0: none."`
	Memory      Size          `yaml:"memory" min:"256MiB" max:"1TiB" doc:"Most private memory of a session's process. One that needs more ends, and nothing else does."`
	Silence     time.Duration `yaml:"silence" min:"1s" max:"24h" doc:"A session ends when neither a frame nor a sign of its client came for so long."`
	Window      int           `yaml:"window" min:"1" max:"1000" doc:"How many frames a session that is not realtime may be ahead of its client's acknowledgements."`
	Gzip        bool          `yaml:"gzip,omitempty" doc:"Compress what is sent of each frame."`
	JPEGQuality int           `yaml:"jpeg_quality" min:"1" max:"100" doc:"Quality of pictures that are sent as data."`
}

// Health is the sensitivity of the stall meter.
type Health struct {
	StallWarn  time.Duration `yaml:"stall_warn" min:"1ms" max:"1m" doc:"A control loop that is held up for longer is logged."`
	StallTrace time.Duration `yaml:"stall_trace" min:"0s" max:"1m" doc:"A control loop that is held up for longer has an execution trace written to data_dir/traces. 0: tracing is off."`
}

// The values of Camera.Boxes.
const (
	Burned = "burned"
	Client = "client"
)

// Motion is the name of the analyser that needs no model.
const Motion = "motion"

// defaultMediaPort carries all media when webrtc.listen is absent.
const defaultMediaPort = "8555"

// Default is the configuration of a box whose file says nothing.
func Default() *Config {
	return &Config{
		Listen:   "127.0.0.1:8080",
		DataDir:  "data",
		Log:      Log{Level: "info", Format: "text"},
		WebRTC:   WebRTC{MaxViewers: 100, MaxPublishers: 4},
		Models:   Models{Default: "yolox-nano"},
		Uploads:  Uploads{MaxSize: 64 << 30, Reserve: 1 << 30, MaxOpen: 256, Expiry: 24 * time.Hour, Keep: 24 * time.Hour},
		Jobs:     Jobs{Concurrency: 1, Retries: 3, PauseForLive: true, MaxResults: 64 << 30},
		Sessions: Sessions{Most: 8, Memory: 1 << 30, Silence: time.Minute, Window: 20, JPEGQuality: 85},
		Health:   Health{StallWarn: 50 * time.Millisecond, StallTrace: 250 * time.Millisecond},
	}
}

// DefaultCamera is a camera whose entry says nothing; id and source are empty.
func DefaultCamera() Camera {
	return Camera{
		Boxes:      Burned,
		StallAfter: 5 * time.Second,
		Picture:    Picture{KeyframeInterval: 2 * time.Second},
	}
}

// Loopback tells whether the web page is reachable from this machine only, so
// that no sign-in is asked.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// MediaListen is webrtc.listen, or where it is absent the host of listen with
// port 8555.
func (c *Config) MediaListen() string {
	if c.WebRTC.Listen != "" {
		return c.WebRTC.Listen
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		host = ""
	}
	return net.JoinHostPort(host, defaultMediaPort)
}

// ModelsDir is the folder of the installed models.
func (c *Config) ModelsDir() string {
	if c.Models.Dir != "" {
		return c.Models.Dir
	}
	return filepath.Join(c.DataDir, "models")
}

// PasswordFile is where the password is read from, and whether it is written
// there by the box itself when it is missing.
func (c *Config) PasswordFile() (path string, generate bool) {
	if c.Auth.PasswordFile != "" {
		return c.Auth.PasswordFile, false
	}
	return filepath.Join(c.DataDir, "password"), true
}

// StateFile is the database of uploads and jobs.
func (c *Config) StateFile() string { return filepath.Join(c.DataDir, "state", "watchpost.db") }

// BackupDir is where the database's backups lie.
func (c *Config) BackupDir() string { return filepath.Join(c.DataDir, "state", "backups") }

// UploadsDir is where the bytes of pushed files lie.
func (c *Config) UploadsDir() string { return filepath.Join(c.DataDir, "uploads") }

// JobsDir is where the results of pushed files lie, a folder for each.
func (c *Config) JobsDir() string { return filepath.Join(c.DataDir, "jobs") }

// JobModel is the name of the analyser of pushed files that ask for none.
func (c *Config) JobModel() string {
	if c.Jobs.Model != "" {
		return c.Jobs.Model
	}
	return c.Models.Default
}

// TraceDir is where the stall meter leaves its traces.
func (c *Config) TraceDir() string { return filepath.Join(c.DataDir, "traces") }

// ModelOf is the name of the analyser of a camera.
func (c *Config) ModelOf(cam Camera) string {
	if cam.Model != "" {
		return cam.Model
	}
	return c.Models.Default
}

// Title is the camera's name, or its id where it has none.
func (c Camera) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// resolve makes the paths of a file that lies in dir independent of the
// working directory.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.DataDir, &c.Models.Dir, &c.Auth.PasswordFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Cameras {
		s := &c.Cameras[i].Source
		if KindOf(*s) == KindFile && !filepath.IsAbs(*s) {
			*s = filepath.Join(dir, *s)
		}
	}
}

// listensOn checks HOST:PORT and says what is wrong with it.
func listensOn(s string) (problem, suggestion string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, perr := strconv.ParseUint(s, 10, 16); perr == nil {
			return "is not HOST:PORT", "write " + strconv.Quote(":"+s)
		}
		if a, aerr := netip.ParseAddr(strings.Trim(s, "[]")); aerr == nil {
			return "has no port", "write " + strconv.Quote(net.JoinHostPort(a.String(), "8080"))
		}
		return "is not HOST:PORT", `write it as "127.0.0.1:8080", or ":8080" for all addresses`
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "has no valid port", "a port is a number from 0 (any free one) to 65535"
	}
	if host != "" && !validHost(host) {
		return "has no valid host", "use an IP address or a host name, or leave it out for all addresses"
	}
	return "", ""
}

// validHost accepts an IP address (with zone) or a host name of RFC 1123.
func validHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	h = strings.TrimSuffix(h, ".")
	if h == "" || len(h) > 253 {
		return false
	}
	numeric := true
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			switch {
			case r >= '0' && r <= '9':
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-', r == '_':
				numeric = false
			default:
				return false
			}
		}
	}
	return !numeric // 300.1.1.1 is a mistyped address, not a name
}
