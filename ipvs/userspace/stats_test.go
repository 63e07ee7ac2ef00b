package userspace

import (
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// kernelRate is the kernel's estimator as it is written there: called every two
// seconds with the total so far.
type kernelRate struct {
	last uint64
	rate int64
}

func (k *kernelRate) tick(total uint64, shift int) {
	now := int64(total-k.last) << shift
	k.last = total
	k.rate += (now - k.rate) >> 2
}

func TestRatesAreTheKernels(t *testing.T) {
	// What comes between two ticks, in even flows of some seconds each.
	flows := []struct {
		ticks   int
		packets uint64 // in two seconds
	}{{5, 0}, {10, 2000}, {3, 34}, {40, 1_000_000}, {90, 2}, {200, 0}}
	for _, every := range []time.Duration{2 * time.Second, 10 * time.Second, 700 * time.Millisecond} {
		var (
			packets, bytes kernelRate
			total          uint64
			now            time.Duration
			c              counters
		)
		c.begin(0)
		for _, f := range flows {
			for range f.ticks {
				for range 20 {
					now += 100 * time.Millisecond
					c.inPackets.Add(f.packets / 20)
					c.inBytes.Add(f.packets / 20 * 1000)
					if now%every == 0 {
						c.stats(now)
					}
				}
				total += f.packets / 20 * 20
				packets.tick(total, 9)
				bytes.tick(total*1000, 4)
			}
			got := c.stats(now)
			wantPackets, wantBytes := uint64(packets.rate+0x1ff)>>10, uint64(bytes.rate+0xf)>>5
			if !near(got.InPacketRate, wantPackets) || !near(got.InByteRate, wantBytes) || got.InPackets != total {
				t.Errorf("read every %v, after %v: %d packets/s and %d bytes/s, the kernel has %d and %d", every, now,
					got.InPacketRate, got.InByteRate, wantPackets, wantBytes)
			}
		}
	}
}

// near takes a difference of 1 in a thousand, and of one.
func near(a, b uint64) bool { return max(a, b)-min(a, b) <= 1+b/1000 }

func TestRatesOfAnEvenFlow(t *testing.T) {
	var c counters
	c.begin(0)
	c.inBytes.Add(100 * 1 << 40) // 1 TiB a second, looked at once
	c.connections.Add(100 * 50)
	got := c.stats(100 * time.Second)
	if !near(got.InByteRate, 1<<40) || !near(got.ConnectionRate, 50) || got.OutByteRate != 0 {
		t.Errorf("%+v", got)
	}
	if got := c.stats(1000 * time.Hour); got.InByteRate != 0 || got.ConnectionRate != 0 || got.Connections != 5000 {
		t.Errorf("long after: %+v", got)
	}
}

func TestRatesStayBetweenSteps(t *testing.T) {
	var c counters
	c.begin(0)
	c.connections.Add(8)
	first := c.stats(2 * time.Second)
	if first.ConnectionRate != 1 { // a quarter of 4 a second
		t.Errorf("after a step: %+v", first)
	}
	c.connections.Add(100)
	if got := c.stats(3999 * time.Millisecond); got.ConnectionRate != 1 || got.Connections != 108 {
		t.Errorf("before the next: %+v", got)
	}
}

func TestZeroedCounters(t *testing.T) {
	var c counters
	c.begin(0)
	c.connected(time.Second)
	c.inPackets.Add(1000)
	c.outPackets.Add(2000)
	c.inBytes.Add(3000)
	c.outBytes.Add(4000)
	got := c.stats(2 * time.Second)
	want := ipvs.Stats{
		Connections: 1, InPackets: 1000, OutPackets: 2000, InBytes: 3000, OutBytes: 4000,
		ConnectionRate: 0, InPacketRate: 125, OutPacketRate: 250, InByteRate: 375, OutByteRate: 500,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.zero(2 * time.Second)
	if got := c.stats(10 * time.Second); got != (ipvs.Stats{}) {
		t.Errorf("after zero: %+v", got)
	}
	c.inPackets.Add(1)
	if got := c.stats(10 * time.Second); got != (ipvs.Stats{InPackets: 1}) {
		t.Errorf("after zero and a packet: %+v", got)
	}
}
