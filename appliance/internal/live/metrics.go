package live

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters of a rendition; totals since the start.
type counters struct {
	units, keyframes, damaged  atomic.Uint64
	packets, bytes             atomic.Uint64 // sent, without retransmissions; bytes of payload
	skipped                    atomic.Uint64
	nacksAnswered, nacksMissed atomic.Uint64
	pictureLosses              atomic.Uint64
	requests                   atomic.Uint64
}

// Stats are the server's figures at one moment.
type Stats struct {
	Streams []StreamStats
	// Refused viewers: the box was full.
	Refused uint64
	// Datagrams, SendCalls and SocketDropped are the UDP socket's totals.
	Datagrams, SendCalls, SocketDropped uint64
}

// StreamStats are one rendition's figures; totals are since the stream began.
type StreamStats struct {
	Camera string
	Codec  Codec
	// Viewers includes those that still connect, Connected does not.
	Viewers, Connected int
	// Units published, keyframes among them, and units that could not be packetized.
	Units, Keyframes, Damaged uint64
	// Packets and Bytes (of payload) sent to all viewers, without retransmissions.
	Packets, Bytes uint64
	// Skipped units: those that viewers were too slow for.
	Skipped uint64
	// NacksAnswered and NacksMissed count packets asked for again.
	NacksAnswered, NacksMissed uint64
	// PictureLosses reported by viewers (PLI and FIR), and KeyframeRequests to the encoder.
	PictureLosses, KeyframeRequests uint64
	// Queue is how many frames the viewer furthest behind has not been sent.
	Queue uint64
	// Boxes of frames: messages sent to viewers, those that slow ones were spared,
	// and frames whose picture was not found. H.264 only.
	BoxesSent, BoxesDropped, BoxesUnmatched uint64
	// RingFrames and RingBytes are kept for viewers and retransmissions.
	RingFrames, RingBytes int
}

// Stats reads the figures.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	streams := make([]*Stream, 0, len(s.streams))
	for _, st := range s.streams {
		streams = append(streams, st)
	}
	c := s.peers.Counters()
	out := Stats{Refused: s.refused, Datagrams: c.Datagrams, SendCalls: c.Calls, SocketDropped: c.Dropped}
	s.mu.Unlock()
	slices.SortFunc(streams, func(a, b *Stream) int { return strings.Compare(a.id, b.id) })
	for _, st := range streams {
		st.mu.Lock()
		viewers, counts := st.viewers, st.counts
		st.mu.Unlock()
		for i, r := range st.renditions {
			figures := r.stats(st.id, counts[i], viewers)
			if c := &st.boxCounters; r.codec == H264 {
				figures.BoxesSent, figures.BoxesDropped, figures.BoxesUnmatched = c.sent.Load(), c.dropped.Load(), c.unmatched.Load()
			}
			out.Streams = append(out.Streams, figures)
		}
	}
	return out
}

func (r *rendition) stats(camera string, n int, viewers []*viewer) StreamStats {
	c := &r.counters
	st := StreamStats{
		Camera: camera, Codec: r.codec, Viewers: n,
		Units: c.units.Load(), Keyframes: c.keyframes.Load(), Damaged: c.damaged.Load(),
		Packets: c.packets.Load(), Bytes: c.bytes.Load(), Skipped: c.skipped.Load(),
		NacksAnswered: c.nacksAnswered.Load(), NacksMissed: c.nacksMissed.Load(),
		PictureLosses: c.pictureLosses.Load(), KeyframeRequests: c.requests.Load(),
	}
	for _, v := range viewers {
		if v.rendition == r && v.live.Load() {
			st.Connected++
			st.Queue = max(st.Queue, v.lag())
		}
	}
	r.mu.RLock()
	st.RingFrames, st.RingBytes = int(r.head-r.tail), r.bytes
	r.mu.RUnlock()
	return st
}

// metrics shows Stats to Prometheus, read when it asks: nothing is counted twice
// on the way of a packet.
type metrics struct {
	server *Server
	delay  prometheus.Histogram

	viewers, units, packets, bytes, skipped, nacks, losses, requests, queue, damaged, boxes *prometheus.Desc
	refused, datagrams, calls, dropped                                                      *prometheus.Desc
}

func newMetrics(s *Server) *metrics {
	rendition := []string{"camera", "codec"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watchpost_live_"+name, help, labels, nil)
	}
	return &metrics{
		server: s,
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "watchpost_live_capture_to_packet_seconds",
			Help: "From the capture of a frame until its last packet for the last viewer was handed to the socket.",
			// Fine around a frame interval and the encoder's time, where the goal lies.
			Buckets: []float64{.005, .01, .015, .02, .025, .03, .035, .04, .045, .05, .06, .08, .1, .15, .2, .3, .5, 1, 2, 5},
		}),
		viewers:   desc("viewers", "Viewers, by state.", append(rendition, "state")...),
		units:     desc("units_total", "Units published.", rendition...),
		damaged:   desc("units_damaged_total", "Units that could not be packetized.", rendition...),
		packets:   desc("packets_total", "RTP packets sent, without retransmissions.", rendition...),
		bytes:     desc("payload_bytes_total", "RTP payload sent, without retransmissions.", rendition...),
		skipped:   desc("units_skipped_total", "Units that viewers were too slow for.", rendition...),
		nacks:     desc("nacks_total", "Packets that viewers asked for again, by outcome.", append(rendition, "outcome")...),
		losses:    desc("picture_losses_total", "Picture losses that viewers reported.", rendition...),
		requests:  desc("keyframe_requests_total", "Keyframes asked of the encoder.", rendition...),
		queue:     desc("queue_frames", "Frames that the viewer furthest behind has not been sent.", rendition...),
		boxes:     desc("boxes_total", "Messages with the boxes of a frame for viewers that draw them, by outcome.", "camera", "outcome"),
		refused:   desc("viewers_refused_total", "Viewers refused because the box was full."),
		datagrams: desc("datagrams_total", "UDP datagrams sent."),
		calls:     desc("send_calls_total", "System calls that sent them."),
		dropped:   desc("datagrams_dropped_total", "UDP datagrams that the socket did not take in time."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.delay.Describe(ch)
	for _, d := range []*prometheus.Desc{m.viewers, m.units, m.damaged, m.packets, m.bytes, m.skipped, m.nacks, m.losses,
		m.requests, m.queue, m.boxes, m.refused, m.datagrams, m.calls, m.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.delay.Collect(ch)
	stats := m.server.Stats()
	for _, s := range stats.Streams {
		put := func(d *prometheus.Desc, t prometheus.ValueType, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, t, float64(v), append([]string{s.Camera, s.Codec.String()}, labels...)...)
		}
		put(m.viewers, prometheus.GaugeValue, uint64(s.Connected), "connected")
		put(m.viewers, prometheus.GaugeValue, uint64(max(0, s.Viewers-s.Connected)), "connecting")
		put(m.units, prometheus.CounterValue, s.Units)
		put(m.damaged, prometheus.CounterValue, s.Damaged)
		put(m.packets, prometheus.CounterValue, s.Packets)
		put(m.bytes, prometheus.CounterValue, s.Bytes)
		put(m.skipped, prometheus.CounterValue, s.Skipped)
		put(m.nacks, prometheus.CounterValue, s.NacksAnswered, "answered")
		put(m.nacks, prometheus.CounterValue, s.NacksMissed, "missed")
		put(m.losses, prometheus.CounterValue, s.PictureLosses)
		put(m.requests, prometheus.CounterValue, s.KeyframeRequests)
		put(m.queue, prometheus.GaugeValue, s.Queue)
		if s.Codec == H264 {
			for outcome, n := range map[string]uint64{"sent": s.BoxesSent, "dropped": s.BoxesDropped, "unmatched": s.BoxesUnmatched} {
				ch <- prometheus.MustNewConstMetric(m.boxes, prometheus.CounterValue, float64(n), s.Camera, outcome)
			}
		}
	}
	total := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	total(m.refused, stats.Refused)
	total(m.datagrams, stats.Datagrams)
	total(m.calls, stats.SendCalls)
	total(m.dropped, stats.SocketDropped)
}
