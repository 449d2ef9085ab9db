package config

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Validate checks a configuration that was made or changed in the program, by
// the rules of the file. The error is an *Errors whose entries have no line.
func (c *Config) Validate() error {
	var errs Errors
	c.check(&errs)
	return errs.orNil()
}

// validate adds what Validate finds, at its place in the file, but for what
// the decoder has complained of already.
func (d *decoder) validate(c *Config) {
	var found Errors
	c.check(&found)
	for _, e := range found.Entries {
		if d.covered(e.Path) {
			continue
		}
		at := place{1, 1}
		for p := e.Path; ; p = parent(p) {
			if known, ok := d.at[p]; ok {
				at = known
				break
			}
			if p == "" {
				break
			}
		}
		d.failAt(at, e.Path, e.Message, e.Suggestion)
	}
}

func (d *decoder) covered(path string) bool {
	for ; path != ""; path = parent(path) {
		if d.wrong[path] {
			return true
		}
	}
	return d.wrong[""]
}

// parent cuts the last key or index off a path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (c *Config) check(errs *Errors) {
	checkTags(errs, reflect.ValueOf(c).Elem(), "")
	c.checkAddresses(errs)
	seen := make(map[string]int)
	for i := range c.Cameras {
		cam, path := &c.Cameras[i], "cameras["+strconv.Itoa(i)+"]"
		if first, twice := seen[cam.ID]; twice && cam.ID != "" {
			free := FromSource(cam.ID, c.Cameras...).ID
			errs.add(path+".id", fmt.Sprintf("id %s is used already, by cameras[%d]", quote(cam.ID), first), "take another one, such as "+strconv.Quote(free))
		} else {
			seen[cam.ID] = i
		}
		cam.check(errs, path)
	}
	if c.Health.StallTrace != 0 && c.Health.StallTrace < c.Health.StallWarn {
		errs.add("health.stall_trace", fmt.Sprintf("%s is less than stall_warn, %s", c.Health.StallTrace, c.Health.StallWarn), "make it longer, or 0 for no traces")
	}
}

func (c *Config) checkAddresses(errs *Errors) {
	if problem, suggestion := listensOn(c.Listen); problem != "" {
		errs.add("listen", quote(c.Listen)+" "+problem, suggestion)
	}
	if c.WebRTC.Listen != "" {
		if problem, suggestion := listensOn(c.WebRTC.Listen); problem != "" {
			errs.add("webrtc.listen", quote(c.WebRTC.Listen)+" "+problem, strings.ReplaceAll(suggestion, "8080", defaultMediaPort))
		}
	}
	if port, same := samePort(c.Listen, c.MediaListen()); same {
		path, suggestion := "webrtc.listen", "take another port, such as "+defaultMediaPort
		if port == defaultMediaPort {
			path, suggestion = "listen", "take another port, such as 8080, or set webrtc.listen"
		}
		errs.add(path, "listen and webrtc.listen both want the TCP port "+port, suggestion)
	}
	for i, a := range c.WebRTC.PublicAddresses {
		if !validHost(a) {
			suggestion := "write an IP address or a host name, without port"
			if ap, err := netip.ParseAddrPort(a); err == nil {
				suggestion = "write " + strconv.Quote(ap.Addr().String()) + "; the port is that of webrtc.listen"
			}
			errs.add("webrtc.public_addresses["+strconv.Itoa(i)+"]", quote(a)+" is no address", suggestion)
		}
	}
	for i := range c.WebRTC.ICEServers {
		c.WebRTC.ICEServers[i].check(errs, "webrtc.ice_servers["+strconv.Itoa(i)+"]")
	}
}

// samePort tells whether two valid addresses cannot both be listened on.
func samePort(a, b string) (port string, same bool) {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return "", false
	}
	return portA, hostA == hostB || anyHost(hostA) || anyHost(hostB)
}

func anyHost(h string) bool {
	addr, err := netip.ParseAddr(h)
	return h == "" || err == nil && addr.IsUnspecified()
}

var iceSchemes = []string{"stun", "stuns", "turn", "turns"}

func (s *ICEServer) check(errs *Errors, path string) {
	turn := false
	for i, u := range s.URLs {
		at := path + ".urls[" + strconv.Itoa(i) + "]"
		scheme, rest, ok := strings.Cut(u, ":")
		known := false
		for _, k := range iceSchemes {
			known = known || k == scheme
		}
		hostport, _, _ := strings.Cut(rest, "?")
		host, port, hasPort := strings.Cut(hostport, ":")
		if strings.HasPrefix(hostport, "[") {
			host, port, hasPort = strings.Cut(strings.TrimPrefix(hostport, "["), "]")
			port = strings.TrimPrefix(port, ":")
			hasPort = hasPort && port != ""
		}
		n, perr := strconv.Atoi(port)
		turn = turn || strings.HasPrefix(scheme, "turn")
		switch {
		case !ok || !known:
			suggestion := "write stun:HOST:PORT or turn:HOST:PORT"
			if near := nearest(scheme, iceSchemes); ok && near != "" {
				suggestion = didYouMean(near + ":")
			}
			errs.add(at, quote(u)+" is not a STUN or TURN address", suggestion)
		case strings.HasPrefix(rest, "//"):
			errs.add(at, quote(u)+" has slashes behind its scheme", "write "+strconv.Quote(scheme+":"+clip(strings.TrimLeft(rest, "/"))))
		case !validHost(host), hasPort && (perr != nil || n < 1 || n > 65535):
			errs.add(at, quote(u)+" has no valid host and port", "write "+scheme+":HOST:3478")
		}
	}
	if turn && s.Username == "" {
		errs.add(path+".username", "username is missing, a TURN server needs it", "add it, as the server's operator gave it")
	}
	if turn && s.Credential == "" {
		errs.add(path+".credential", "credential is missing, a TURN server needs it", "add it, as the server's operator gave it")
	}
}

func (c *Camera) check(errs *Errors, path string) {
	kind := KindOf(c.Source)
	if c.Source != "" {
		if problem, suggestion := problemOf(c.Source); problem != "" {
			errs.add(path+".source", problem, suggestion)
		}
	}
	if c.Transport != "" && c.Source != "" && kind != KindRTSP && kind != KindUnknown {
		errs.add(path+".transport", "transport is for rtsp:// sources only", "take it away")
	}
	capture := c.Capture != Capture{}
	if capture && c.Source != "" && kind != KindDevice && kind != KindPattern {
		errs.add(path+".capture", "capture is for /dev/videoN and test: sources only", "take it away; picture.max_height scales the picture down")
	}
	if (c.Capture.Width == 0) != (c.Capture.Height == 0) {
		errs.add(path+".capture", "width and height go together", "give both, or neither")
	}
	if h := c.Picture.MaxHeight; h > 0 && h < 64 {
		errs.add(path+".picture.max_height", strconv.Itoa(h)+" is too small to see anything", "take 64 or more, or 0 for the picture as it comes")
	}
	if b := c.Picture.Bitrate; b > 0 && b < 50_000 {
		suggestion := "take 50kbit or more, or 0 for automatic"
		if b <= 20_000 {
			suggestion += "; it counts bits, not kilobits: " + strconv.Itoa(int(b)) + "kbit?"
		}
		errs.add(path+".picture.bitrate", fmt.Sprintf("%d bit/s is too little for a picture", int(b)), suggestion)
	}
}

// checkTags checks what the struct tags say of every key.
func checkTags(errs *Errors, v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		fv, p := v.Field(f.index), join(path, f.name)
		switch {
		case f.need && fv.Len() == 0:
			errs.add(p, f.name+" is missing", "add "+f.name+": "+f.sample())
		case fv.Kind() == reflect.String:
			checkText(errs, fv.String(), f, p)
		case fv.Kind() == reflect.Struct:
			checkTags(errs, fv, p)
		case fv.Kind() == reflect.Slice:
			for i := range fv.Len() {
				ep := p + "[" + strconv.Itoa(i) + "]"
				if e := fv.Index(i); e.Kind() == reflect.Struct {
					checkTags(errs, e, ep)
				} else if e.String() == "" {
					errs.add(ep, "this entry of the list is empty", "fill it in, or take it away")
				} else {
					checkText(errs, e.String(), field{name: f.name, secret: f.secret}, ep)
				}
			}
		case f.min != "":
			checkRange(errs, fv, f, p)
		}
	}
}

// sample is a value that shows what a missing key wants.
func (f field) sample() string {
	switch f.name {
	case "id":
		return "front"
	case "source":
		return "rtsp://USER:PASSWORD@HOST/PATH"
	case "urls":
		return "[stun:HOST:3478]"
	case "default":
		return "yolox-nano"
	}
	return "data"
}

func checkText(errs *Errors, s string, f field, path string) {
	if s == "" && f.enum == nil {
		return
	}
	shown := f.name
	if !f.secret {
		shown = quote(s)
	}
	if f.enum != nil {
		for _, e := range f.enum {
			if s == e {
				return
			}
		}
		suggestion := "write " + strings.TrimPrefix(strings.Join(f.enum, " or "), " or ")
		if near := nearest(s, f.enum); near != "" {
			suggestion = didYouMean(near)
		}
		errs.add(path, shown+" is not a value of "+f.name, suggestion)
		return
	}
	if !utf8.ValidString(s) {
		errs.add(path, shown+" is not UTF-8 text", "rename the file, or type it anew")
		return
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			errs.add(path, shown+" holds a character that cannot be printed", "remove "+fmt.Sprintf("%U", r))
			return
		}
	}
	if strings.TrimSpace(s) != s {
		errs.add(path, shown+" begins or ends with a space", "remove it")
		return
	}
	if f.pattern != "" && !regexp.MustCompile("^(?:"+f.pattern+")$").MatchString(s) {
		suggestion := "use letters, digits, dots, dashes and underscores, a letter or digit first, at most 128"
		if f.name == "id" {
			suggestion = "use a-z, 0-9, - and _, at most 64: " + strconv.Quote(slug(s))
		}
		errs.add(path, shown+" is not a valid "+f.name, suggestion)
	}
}

func checkRange(errs *Errors, v reflect.Value, f field, path string) {
	var n float64
	var shown string
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		n, shown = float64(v.Int()), time.Duration(v.Int()).String()
	case v.Type() == reflect.TypeFor[Size]():
		n, shown = float64(v.Int()), Size(v.Int()).String()
	case v.CanInt():
		n, shown = float64(v.Int()), strconv.FormatInt(v.Int(), 10)
	default:
		n = v.Float()
		shown = strconv.FormatFloat(n, 'g', -1, v.Type().Bits())
	}
	lo, _ := f.limit(f.min)
	hi, _ := f.limit(f.max)
	if !(n >= lo && n <= hi) { // not the other way round: NaN
		suggestion := fmt.Sprintf("take a value from %s to %s", f.min, f.max)
		if f.name == "threshold" && n > 1 && n <= 100 {
			suggestion += ": " + strconv.FormatFloat(n/100, 'g', 4, 64) + "?"
		}
		errs.add(path, shown+" is out of range", suggestion)
	}
}
