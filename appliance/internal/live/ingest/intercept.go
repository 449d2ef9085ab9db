package ingest

import (
	"fmt"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	// nackInterval is how often missing packets are asked for: several times within
	// the patience that they have.
	nackInterval = 30 * time.Millisecond
	// nackTimes bounds how often one packet is asked for.
	nackTimes = 8
	// nackSize is how many packets back one is still asked for.
	nackSize = 512
	// twccInterval is how often arrival times are reported: browsers judge the
	// bandwidth by them.
	twccInterval = 100 * time.Millisecond
)

// Intercept has a connection answer the peer's video so that it sends well: missing
// packets are asked for (RFC 4585), arrivals are reported (transport-wide congestion
// control, by which browsers raise their bitrate; REMB for those without it), and receiver
// reports are sent (RFC 3550). It is peer.Options.Intercept for Codecs and Offered.
func Intercept(m *webrtc.MediaEngine, r *interceptor.Registry) error {
	nacks, err := nack.NewGeneratorInterceptor(
		nack.GeneratorInterval(nackInterval), nack.GeneratorMaxNacksPerPacket(nackTimes), nack.GeneratorSize(nackSize))
	if err != nil {
		return fmt.Errorf("make the NACK generator: %w", err)
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return fmt.Errorf("make the receiver reports: %w", err)
	}
	arrivals, err := twcc.NewSenderInterceptor(twcc.SendInterval(twccInterval))
	if err != nil {
		return fmt.Errorf("make the arrival reports: %w", err)
	}
	err = m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, webrtc.RTPCodecTypeVideo)
	if err != nil {
		return fmt.Errorf("register the header extension of arrival reports: %w", err)
	}
	r.Add(nacks)
	r.Add(reports)
	r.Add(arrivals)
	r.Add(estimates{})
	return nil
}
