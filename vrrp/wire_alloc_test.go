package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// wireKinds are what decode and encode are measured with.
var wireKinds = []struct {
	name, src string
	set       func(*Config)
}{
	{"v3", "192.0.2.2", nil},
	{"v3-ipv6", "fe80::2", func(c *Config) { c.Addresses = addrs("fe80::100") }},
	{"v3-hmac", "192.0.2.2", hmacConfig},
	{"v2-pass", "192.0.2.2", passConfig},
	{"v2-ah", "192.0.2.2", ahConfig},
}

func TestWireDoesNotAllocate(t *testing.T) {
	for _, tt := range wireKinds {
		t.Run(tt.name, func(t *testing.T) {
			from, to := testWire(t, tt.set), testWire(t, tt.set)
			h, p, now := from.headerFor(tt.src), from.packetOf(), testTime
			if tt.name == "v2-ah" {
				h.ip = ipHeader(h, ahLen+20)
			}
			buf, out := make([]byte, 0, 128), Packet{}
			round := func() {
				now = now.Add(time.Millisecond)
				buf = from.encode(buf[:0], &p, h.src, h.dst, now)
				if d := to.decode(&out, h, buf, now); d != DropNone {
					t.Fatal(d)
				}
			}
			round()
			if n := testing.AllocsPerRun(200, round); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, tt := range wireKinds {
		b.Run(tt.name, func(b *testing.B) {
			w := testWire(b, tt.set)
			h, p, buf := w.headerFor(tt.src), w.packetOf(), make([]byte, 0, 128)
			b.ReportAllocs()
			for b.Loop() {
				buf = w.encode(buf[:0], &p, h.src, h.dst, testTime)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, tt := range wireKinds {
		b.Run(tt.name, func(b *testing.B) {
			w := testWire(b, tt.set)
			h, p, out := w.headerFor(tt.src), w.packetOf(), Packet{}
			msg := w.send(&p, &h, testTime)
			b.ReportAllocs()
			for b.Loop() {
				// The second time it is a replay to HMAC and AH, which is found out last.
				if d := w.decode(&out, h, msg, testTime); d != DropNone && d != DropReplay {
					b.Fatal(d)
				}
			}
		})
	}
}

// The worst that anybody can send: 255 addresses in another order, or none of ours.
func BenchmarkAddresses(b *testing.B) {
	set, other := addressSet{}, make([]netip.Addr, 255)
	reverse := make([]netip.Addr, 255)
	list := make([]netip.Addr, 255)
	for i := range 255 {
		list[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		reverse[254-i] = list[i]
		other[i] = netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
	}
	set.config(list)
	b.Run("same", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !set.same(reverse) {
				b.Fatal("not the same")
			}
		}
	})
	b.Run("foreign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !set.foreign(other) {
				b.Fatal("not foreign")
			}
		}
	})
}
