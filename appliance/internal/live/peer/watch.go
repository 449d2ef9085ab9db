package peer

import (
	"net/netip"
	"sync"

	"github.com/pion/webrtc/v4"
)

// verdicts is how many addresses wait for it to be seen whose they are. What finds no
// room comes again with the next error.
const verdicts = 16

// watches are the connections whose peers' addresses are looked after.
type watches struct {
	mu  sync.Mutex
	set map[*watch]struct{}
}

type watch struct {
	pc   *webrtc.PeerConnection
	lost func()
}

// Watch has lost called, once, when the network says that the peer of pc is gone:
// packets to the address that ICE has selected came back as undeliverable (the process
// that had the port has ended, or the host has left the network), at least twice, over
// a second and more, and nothing came from there meanwhile. ICE would find that out too,
// by Config.Timeout of silence; a peer that is merely silent is left to it. Networks
// need not say anything, and many hosts' firewalls do not.
//
// lost is called from a goroutine of the factory and must not block. It may still run
// while stop is called; it is not begun after that. stop must be called, when the
// connection is closed or before; it may be called again.
func (f *Factory) Watch(pc *webrtc.PeerConnection, lost func()) (stop func()) {
	w := &watch{pc: pc, lost: lost}
	f.watches.mu.Lock()
	defer f.watches.mu.Unlock()
	if f.watches.set == nil {
		f.watches.set = map[*watch]struct{}{}
	}
	f.watches.set[w] = struct{}{}
	return func() { f.watches.remove(w) }
}

// remove tells whether w was there.
func (s *watches) remove(w *watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.set[w]
	delete(s.set, w)
	return was
}

// of returns the connections whose peer is at an address: one, or several when a
// client has one port for all of its own.
func (s *watches) of(a netip.AddrPort) (list []*watch) {
	s.mu.Lock()
	all := make([]*watch, 0, len(s.set))
	for w := range s.set {
		all = append(all, w)
	}
	s.mu.Unlock()
	for _, w := range all {
		if at, ok := selected(w.pc); ok && at == a {
			list = append(list, w)
		}
	}
	return list
}

// selected is where the packets of a connection go from the shared UDP port; false:
// nowhere.
func selected(pc *webrtc.PeerConnection) (netip.AddrPort, bool) {
	pair, err := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil || pair.Local == nil || pair.Remote == nil ||
		pair.Remote.Protocol != webrtc.ICEProtocolUDP || pair.Local.Typ == webrtc.ICECandidateTypeRelay {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(pair.Remote.Address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return bare(netip.AddrPortFrom(ip, pair.Remote.Port)), true
}

// judge tells whose peers are gone, until stop.
func (f *Factory) judge(stop <-chan struct{}, gone <-chan netip.AddrPort) {
	for {
		select {
		case <-stop:
			return
		case a := <-gone:
			whose := f.watches.of(a)
			if !f.udp.gone.take(a) {
				continue // heard again
			}
			for _, w := range whose {
				if f.watches.remove(w) {
					f.log.Debug("the peer cannot be reached any more", "address", a)
					w.lost()
				}
			}
		}
	}
}

// listenErrors starts what looks after the peers' addresses. Where the kernel does not
// tell errors, ICE alone finds out who is gone.
func (f *Factory) listenErrors() {
	if err := askErrors(f.udp.UDPConn); err != nil {
		f.log.Debug("a peer that is gone is noticed by its silence only", "error", err)
		return
	}
	f.udp.tells = true
	gone := make(chan netip.AddrPort, verdicts)
	f.work.Go(func() { f.udp.listenErrors(f.stop, gone) })
	f.work.Go(func() { f.judge(f.stop, gone) })
}
