package api

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	freeFailures  = 4                // wrong passwords before the first delay
	longestDelay  = time.Minute      // the delay doubles up to this
	forgetAfter   = 15 * time.Minute // an address that was quiet for so long starts anew
	knownFailures = 1024             // addresses remembered; the one that failed longest ago makes room
)

// limiter delays guessing: each address may fail a few times, then must wait
// twice as long after every further failure. Comparison and bookkeeping happen
// under one lock, so that guesses sent side by side count like guesses in a row.
type limiter struct {
	mu       sync.Mutex
	failures map[netip.Prefix]failure
}

type failure struct {
	count int
	last  time.Time
}

func newLimiter() *limiter { return &limiter{failures: make(map[netip.Prefix]failure)} }

// try runs check unless address has to wait; it returns check's verdict, or
// how long to wait. Even the right password is refused during the wait:
// otherwise waiting would be for nothing.
func (l *limiter) try(address string, check func() bool) (ok bool, wait time.Duration) {
	key := addressKey(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	f, known := l.failures[key]
	if known && now.Sub(f.last) > forgetAfter {
		f, known = failure{}, false
		delete(l.failures, key)
	}
	if left := f.last.Add(f.delay()).Sub(now); known && left > 0 {
		return false, left
	}
	if check() {
		delete(l.failures, key)
		return true, 0
	}
	if !known && len(l.failures) >= knownFailures {
		l.makeRoom()
	}
	l.failures[key] = failure{count: f.count + 1, last: now}
	return false, 0
}

func (l *limiter) makeRoom() {
	var oldest netip.Prefix
	var at time.Time
	for k, f := range l.failures {
		if at.IsZero() || f.last.Before(at) {
			oldest, at = k, f.last
		}
	}
	delete(l.failures, oldest)
}

func (f failure) delay() time.Duration {
	if f.count <= freeFailures {
		return 0
	}
	return min(longestDelay, time.Second<<min(f.count-freeFailures-1, 6))
}

// addressKey groups what one household or attacker holds: an IPv4 address, or
// the /64 of an IPv6 address. What cannot be read shares one key.
func addressKey(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
