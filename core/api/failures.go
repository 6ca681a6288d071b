package api

import (
	"net/netip"
	"sync"
	"time"
)

const (
	mayFail   = 10          // times from one address
	failsFor  = time.Minute // then nobody is heard from there for as long
	addresses = 4096        // remembered
)

// failures counts who could not say who he is.
type failures struct {
	mu   sync.Mutex
	from map[netip.Prefix]failed
}

type failed struct {
	count int
	since time.Time
}

// blocked reports whether too many attempts from there failed lately.
func (f *failures) blocked(from string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.from[network(from)]
	return was.count >= mayFail && now.Sub(was.since) < failsFor
}

func (f *failures) add(from string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from == nil {
		f.from = map[netip.Prefix]failed{}
	}
	at := network(from)
	was := f.from[at]
	if now.Sub(was.since) >= failsFor {
		was = failed{since: now}
	}
	was.count++
	if was.count == mayFail {
		was.since = now
	}
	if _, known := f.from[at]; !known && len(f.from) >= addresses {
		f.forget(now)
	}
	f.from[at] = was
}

// forget makes room: what is old goes, and if nothing is, all.
func (f *failures) forget(now time.Time) {
	for at, was := range f.from {
		if now.Sub(was.since) >= failsFor {
			delete(f.from, at)
		}
	}
	if len(f.from) >= addresses {
		clear(f.from)
	}
}

// network is an address, or the network of 64 bits that one host has in IPv6.
func network(from string) netip.Prefix {
	a, err := netip.ParseAddr(from)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
