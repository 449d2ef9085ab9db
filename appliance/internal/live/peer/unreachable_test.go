package peer

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestComplaints(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	a, b := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:5000")
	t.Run("two over a while", func(t *testing.T) {
		var u unreachable
		if u.complain(a, at(0)) || u.complain(b, at(complaintTime-1)) {
			t.Error("gone too early")
		}
		if !u.complain(a, at(complaintTime)) || !u.take(b) || u.take(a) || u.any.Load() {
			t.Error("not gone, or not forgotten")
		}
	})
	t.Run("heard", func(t *testing.T) {
		var u unreachable
		u.complain(a, time.Now())
		u.heard(b)
		if u.any.Load() || u.complain(a, time.Now().Add(time.Hour)) {
			t.Error("an address that was heard is held for gone")
		}
	})
	t.Run("heard when it is judged", func(t *testing.T) {
		var u unreachable
		u.complain(a, time.Now())
		if !u.complain(a, time.Now().Add(complaintTime)) {
			t.Error("not gone")
		}
		u.heard(a)
		if u.take(a) {
			t.Error("an address that was heard is held for gone")
		}
	})
	t.Run("too far apart", func(t *testing.T) {
		var u unreachable
		u.complain(a, at(0))
		u.complain(netip.MustParseAddrPort("192.0.2.2:1"), at(complaintLife/2+1))
		if u.complain(a, at(complaintLife+1)) {
			t.Error("two strays make an address gone")
		}
		u.complain(a, at(10*complaintLife))
		if len(u.table) != 1 {
			t.Errorf("%d in the table, want the last", len(u.table))
		}
	})
	t.Run("bounded", func(t *testing.T) {
		var u unreachable
		for i := range 3 * maxUnreachable {
			u.complain(netip.AddrPortFrom(a.Addr(), uint16(1+i)), at(time.Duration(i)))
		}
		if len(u.table) != maxUnreachable {
			t.Errorf("%d addresses", len(u.table))
		}
		if _, ok := u.table[netip.AddrPortFrom(a.Addr(), 3*maxUnreachable)]; !ok {
			t.Error("the newest is not there")
		}
	})
}

// TestHeardCostsNothing: the read path pays for the table only while it is not empty.
func TestHeardCostsNothing(t *testing.T) {
	var u unreachable
	a := netip.MustParseAddrPort("192.0.2.1:5000")
	if n := testing.AllocsPerRun(100, func() { u.heard(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	u.complain(netip.MustParseAddrPort("192.0.2.2:5000"), time.Now())
	if n := testing.AllocsPerRun(100, func() { u.heard(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHeard(b *testing.B) {
	a := netip.MustParseAddrPort("192.0.2.1:5000")
	b.Run("empty", func(b *testing.B) {
		var u unreachable
		for b.Loop() {
			u.heard(a)
		}
	})
	b.Run("another complained of", func(b *testing.B) {
		var u unreachable
		u.complain(netip.MustParseAddrPort("192.0.2.2:5000"), time.Now())
		for b.Loop() {
			u.heard(a)
		}
	})
}

// port is the shared port alone, with what looks after its errors, and no peers.
func port(t *testing.T, listen string) *Factory {
	t.Helper()
	c, err := listenUDP(listen)
	if err != nil {
		t.Fatal(err)
	}
	f := &Factory{udp: c, log: slog.New(slog.DiscardHandler), stop: make(chan struct{})}
	f.listenErrors()
	if !c.tells {
		t.Skip("this kernel does not tell errors")
	}
	t.Cleanup(func() {
		_ = c.Close()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// closedPorts returns addresses that nobody listens at.
func closedPorts(t *testing.T, ip net.IP, n int) (list []netip.AddrPort) {
	t.Helper()
	for range n {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			t.Skip("no such loopback address:", err)
		}
		defer func() { _ = c.Close() }()
		list = append(list, bare(c.LocalAddr().(*net.UDPAddr).AddrPort()))
	}
	return list
}

// TestComplained: the kernel tells who is not there, for both families, on sockets of one
// and of both, whether packets go out singly, in bursts or in segments.
func TestComplained(t *testing.T) {
	for _, c := range []struct{ listen, to string }{
		{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {":0", "127.0.0.1"}, {":0", "::1"},
	} {
		t.Run(c.listen+" to "+c.to, func(t *testing.T) {
			t.Parallel()
			for name, send := range map[string]func(f *Factory, to netip.AddrPort){
				"singly": func(f *Factory, to netip.AddrPort) { _, _ = f.udp.WriteToAddrPort([]byte{0, 1}, to) },
				"burst": func(f *Factory, to netip.AddrPort) {
					f.Burst(func() { _, _ = f.udp.WriteToAddrPort(packet(1, 100), to) })
				},
				"segments": func(f *Factory, to netip.AddrPort) {
					f.Burst(func() {
						for range 5 {
							_, _ = f.udp.WriteToAddrPort(packet(1, 100), to)
						}
					})
				},
			} {
				f := port(t, c.listen)
				dead := closedPorts(t, net.ParseIP(c.to), 1)[0]
				var reader sync.WaitGroup
				reader.Go(func() {
					if n, _, err := f.udp.ReadFromAddrPort(make([]byte, 10)); err == nil {
						t.Errorf("read %d bytes", n)
					}
				})
				send(f, dead)
				for end := time.Now().Add(10 * time.Second); !f.udp.gone.any.Load(); time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%s: the kernel told nothing", name)
					}
				}
				f.udp.gone.mu.Lock()
				if f.udp.gone.table[dead].times == 0 {
					t.Errorf("%s: complained of %v, want %v", name, f.udp.gone.table, dead)
				}
				f.udp.gone.mu.Unlock()
				_ = f.udp.Close()
				reader.Wait()
			}
		})
	}
}

// TestFlood: many peers that are not there, sent to in bursts, cost the others neither a
// packet nor much time, in either direction.
func TestFlood(t *testing.T) {
	f := port(t, "127.0.0.1:0")
	dead := closedPorts(t, net.IPv4(127, 0, 0, 1), 20)
	alive, to := receiver(t)
	const rounds, each = 200, 5
	var work sync.WaitGroup
	arrived := 0
	work.Go(func() { // the port's reader
		b := make([]byte, 100)
		for {
			if _, _, err := f.udp.ReadFromAddrPort(b); err != nil {
				return
			}
			arrived++
		}
	})
	got := make(chan int, 1)
	go func() {
		n, b := 0, make([]byte, 2000)
		defer func() { got <- n }()
		for n < 2*rounds*each {
			_ = alive.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := alive.Read(b); err != nil {
				return
			}
			n++
		}
	}()
	sender, _ := receiver(t)
	own := f.udp.LocalAddr().(*net.UDPAddr)
	began := time.Now()
	slow := false // so that bursts ran out of their time, dead peers or not
	for range rounds {
		start := time.Now()
		f.Burst(func() {
			for range each {
				for i, d := range dead {
					if i == len(dead)/2 {
						_, _ = f.udp.WriteToAddrPort(packet(1, 1000), to)
					}
					_, _ = f.udp.WriteToAddrPort(packet(2, 1000), d)
				}
			}
		})
		slow = slow || time.Since(start) > maxSendWait
		for range each {
			if _, err := f.udp.WriteToAddrPort([]byte{0, 1, 2}, to); err != nil {
				t.Fatal(err)
			}
			if _, err := sender.WriteTo([]byte("heard?"), own); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond) // as much as a frame's time is a viewer's
	}
	took := time.Since(began)
	n := <-got
	time.Sleep(100 * time.Millisecond)
	_ = f.udp.Close()
	work.Wait()
	if arrived != rounds*each {
		t.Errorf("%d of %d packets arrived", arrived, rounds*each)
	}
	c := f.Counters()
	t.Logf("%d rounds took %v, %+v", rounds, took, c)
	switch want := uint64(rounds * each * (len(dead) + 2)); {
	case slow && c.Dropped > 0:
		t.Logf("the machine was too slow: the peer got %d of %d packets", n, 2*rounds*each)
	case n != 2*rounds*each:
		t.Errorf("the peer got %d of %d packets", n, 2*rounds*each)
	case c.Datagrams != want || c.Dropped != 0:
		t.Errorf("%+v, want %d datagrams", c, want)
	}
}

// TestWhoseError: which errors of the shared socket end its reader, and which are only
// about somebody who was sent to.
func TestWhoseError(t *testing.T) {
	f := port(t, "127.0.0.1:0")
	op := func(err error) error { return &net.OpError{Op: "read", Net: "udp", Err: err} }
	call := func(errno syscall.Errno) error { return op(os.NewSyscallError("recvfrom", errno)) }
	for _, c := range []struct {
		err          error
		alien, blind bool
	}{
		{call(syscall.ECONNREFUSED), true, false},
		{call(syscall.EHOSTUNREACH), true, false},
		{call(syscall.EMSGSIZE), true, false},
		{call(syscall.EBADF), false, false},
		{call(syscall.ENOMEM), false, false},
		{op(errors.New("not pollable")), false, true},
		{op(net.ErrClosed), false, false},
		{op(os.ErrDeadlineExceeded), false, false},
	} {
		if f.udp.alien(c.err) != c.alien || blind(c.err) != c.blind {
			t.Errorf("%v: alien %v, blind %v", c.err, f.udp.alien(c.err), blind(c.err))
		}
	}
	_ = f.udp.SetReadDeadline(time.Now().Add(-time.Second))
	if _, _, err := f.udp.ReadFromAddrPort(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
}

// TestNobody: what an error must say for its address to be held for gone.
func TestNobody(t *testing.T) {
	const icmp, icmp6, local = unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6, unix.SO_EE_ORIGIN_LOCAL
	for _, c := range []struct {
		e    unix.SockExtendedErr
		want bool
	}{
		{unix.SockExtendedErr{Errno: uint32(unix.ECONNREFUSED), Origin: icmp, Type: 3, Code: 3}, true},
		{unix.SockExtendedErr{Errno: uint32(unix.EHOSTUNREACH), Origin: icmp, Type: 3, Code: 1}, true},
		{unix.SockExtendedErr{Errno: uint32(unix.ECONNREFUSED), Origin: icmp6, Type: 1, Code: 4}, true},
		{unix.SockExtendedErr{Errno: uint32(unix.EHOSTUNREACH), Origin: icmp6, Type: 1, Code: 3}, true},
		{unix.SockExtendedErr{Errno: uint32(unix.EHOSTUNREACH), Origin: icmp, Type: 11}, false},          // the TTL ran out
		{unix.SockExtendedErr{Errno: uint32(unix.EMSGSIZE), Origin: icmp, Type: 3, Code: 4}, false},      // fragmentation needed
		{unix.SockExtendedErr{Errno: uint32(unix.EMSGSIZE), Origin: local}, false},                       // larger than the path takes
		{unix.SockExtendedErr{Errno: uint32(unix.ENETUNREACH), Origin: icmp, Type: 3, Code: 0}, false},   // a router lost its way
		{unix.SockExtendedErr{Errno: uint32(unix.EHOSTUNREACH), Origin: icmp6, Type: 3, Code: 0}, false}, // the hop limit
	} {
		if nobody(&c.e) != c.want {
			t.Errorf("%+v: %v", c.e, !c.want)
		}
	}
}
