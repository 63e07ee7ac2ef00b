package vip

import (
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
