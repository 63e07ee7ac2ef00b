package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkAcquire is what a takeover waits for: from nothing to all addresses
// read back.
func BenchmarkAcquire(b *testing.B) {
	for _, n := range []int{1, 20, 250} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var s State
			for i := range n {
				s.Addresses = append(s.Addresses, Address{Interface: "eth0", Addr: netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})})
			}
			m := newHost(b).manager(Config{State: s})
			for b.Loop() {
				if err := m.Acquire(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := m.Release(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSets is a takeover of 250 routers' addresses: each set acquired and
// announced by itself. ns/op is for all of them.
func BenchmarkSets(b *testing.B) {
	h := newHost(b)
	m := h.manager(Config{})
	var sets []*Set
	for i := range 250 {
		sets = append(sets, h.newSet(m, fmt.Sprint(i), want(fmt.Sprintf("10.0.0.%d@eth0", i+1))))
	}
	each := func(fn func(*Set) error) {
		for _, s := range sets {
			if err := fn(s); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, announce := range []bool{false, true} {
		b.Run(fmt.Sprintf("announce=%v", announce), func(b *testing.B) {
			for b.Loop() {
				each(func(s *Set) error { return s.Acquire(b.Context()) })
				if announce {
					each(func(s *Set) error { return s.Announce(b.Context()) })
				}
				b.StopTimer()
				each(func(s *Set) error { return s.Release(b.Context()) })
				b.StartTimer()
			}
		})
	}
}

// BenchmarkAnnounce is the first round of 250 addresses: 500 frames.
func BenchmarkAnnounce(b *testing.B) {
	var s State
	for i := range 250 {
		s.Addresses = append(s.Addresses, want(fmt.Sprintf("10.0.0.%d@eth0", i+1)).Addresses...)
	}
	m := newHost(b).manager(Config{State: s})
	if err := m.Acquire(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := m.Announce(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if err := m.Release(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVirtualMACs is a takeover of routers with a virtual MAC each, in sets
// of their own. ns/op is for all of them.
func BenchmarkVirtualMACs(b *testing.B) {
	for _, n := range []int{1, 20, 250} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newHost(b)
			if out, err := h.run("ip", "link", "add", "link", "eth0", "type", "macvlan", "mode", "bridge"); err != nil {
				b.Skipf("no macvlan: %s", out)
			}
			m := h.manager(Config{})
			var sets []*Set
			for i := range n {
				s := want(fmt.Sprintf("10.0.0.%d@vrrp.%d", i+1, i+1))
				s.VirtualMACs = []VirtualMAC{{Parent: "eth0", VRID: uint8(i + 1)}}
				sets = append(sets, h.newSet(m, fmt.Sprint(i), s))
			}
			for b.Loop() {
				for _, s := range sets {
					h.acquire(s)
				}
				b.StopTimer()
				for _, s := range sets {
					h.let(s)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkTakeover is 250 addresses from nothing to all announced once. Most
// of the time is the pace of 500 frames.
func BenchmarkTakeover(b *testing.B) {
	var s State
	for i := range 250 {
		s.Addresses = append(s.Addresses, want(fmt.Sprintf("10.0.0.%d@eth0", i+1)).Addresses...)
	}
	m := newHost(b).manager(Config{State: s})
	for b.Loop() {
		if err := errors.Join(m.Acquire(b.Context()), m.Announce(b.Context())); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkReleaseVirtualMAC is the end of a device: the kernel waits for all
// processors.
func BenchmarkReleaseVirtualMAC(b *testing.B) {
	h := newHost(b)
	if out, err := h.run("ip", "link", "add", "link", "eth0", "type", "macvlan", "mode", "bridge"); err != nil {
		b.Skipf("no macvlan: %s", out)
	}
	state := want("10.0.0.1@vrrp.1")
	state.VirtualMACs = []VirtualMAC{{Parent: "eth0", VRID: 1}}
	s := h.newSet(h.manager(Config{}), "s", state)
	for b.Loop() {
		b.StopTimer()
		h.acquire(s)
		b.StartTimer()
		h.let(s)
	}
}
