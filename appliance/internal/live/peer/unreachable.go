package peer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxUnreachable addresses are remembered; a newer one takes the place of the one
	// that was complained of least recently.
	maxUnreachable = 256
	// complaints, over at least complaintTime, are needed to hold an address for gone.
	// One may be a stray. Any number may be forged, but a peer that lives is asked for a
	// sign of life every keepAlive, and so is heard meanwhile.
	complaints    = 2
	complaintTime = 3 * keepAlive / 2
	// complaintLife is for how long one counts that none follows.
	complaintLife = 30 * time.Second
)

// unreachable is what the network says of addresses that were sent to: who was
// complained of, and has not been heard since. Its methods may be called from any
// goroutine.
type unreachable struct {
	any atomic.Bool // whether there is anything in the table

	mu     sync.Mutex
	table  map[netip.AddrPort]complaint
	newest time.Time
}

type complaint struct {
	first, last time.Time
	times       int
}

// bare is an address without what differs by where it was learned: an IPv4 address in
// IPv6 form, a zone.
func bare(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// complain notes that nothing reached an address, and tells whether that makes it gone.
func (u *unreachable) complain(a netip.AddrPort, now time.Time) (gone bool) {
	a = bare(a)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire(now)
	c, known := u.table[a]
	if known && now.Sub(c.last) > complaintLife {
		c = complaint{first: now}
	}
	if !known {
		if u.table == nil {
			u.table = map[netip.AddrPort]complaint{}
		}
		if len(u.table) >= maxUnreachable {
			u.evict()
		}
		c.first = now
	}
	c.last, u.newest = now, now
	c.times++
	u.table[a] = c
	u.any.Store(true)
	return c.condemns()
}

func (c complaint) condemns() bool {
	return c.times >= complaints && c.last.Sub(c.first) >= complaintTime
}

// heard clears an address that something came from. It is called for each datagram.
func (u *unreachable) heard(a netip.AddrPort) {
	if u.any.Load() {
		u.clear(bare(a))
	}
}

func (u *unreachable) clear(a netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.table, a)
	u.expire(time.Now())
	u.any.Store(len(u.table) > 0)
}

// take forgets an address, and tells whether it still was held for gone.
func (u *unreachable) take(a netip.AddrPort) (gone bool) {
	a = bare(a)
	u.mu.Lock()
	defer u.mu.Unlock()
	gone = u.table[a].condemns()
	delete(u.table, a)
	u.any.Store(len(u.table) > 0)
	return gone
}

// expire empties a table that nothing was added to for long, so that datagrams need not
// be looked up in it. The caller holds mu.
func (u *unreachable) expire(now time.Time) {
	if now.Sub(u.newest) > complaintLife {
		clear(u.table)
	}
}

// evict makes room for one. The caller holds mu.
func (u *unreachable) evict() {
	var oldest netip.AddrPort
	var at time.Time
	for a, c := range u.table {
		if at.IsZero() || c.last.Before(at) {
			oldest, at = a, c.last
		}
	}
	delete(u.table, oldest)
}
