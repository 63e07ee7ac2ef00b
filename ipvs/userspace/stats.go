package userspace

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// counters are what a service or a destination has forwarded. The atomic ones
// only grow; Engine.mu guards the others.
type counters struct {
	connections                              atomic.Uint64
	inPackets, outPackets, inBytes, outBytes atomic.Uint64

	zeroed tally // what there was at the last Zero
	rates  estimator
}

// tally is one reading of counters: connections, packets in and out, bytes in
// and out.
type tally [5]uint64

const firstBytes = 3 // index in a tally: bytes have another scale

func (c *counters) tally() tally {
	return tally{c.connections.Load(), c.inPackets.Load(), c.outPackets.Load(), c.inBytes.Load(), c.outBytes.Load()}
}

// begin starts the estimator of a service or destination that comes into the
// table.
func (c *counters) begin(now time.Duration) { c.rates = estimator{since: now, last: c.tally()} }

// resume starts the estimator of a destination that comes back: its rates are
// what they were.
func (e *estimator) resume(now time.Duration) { e.since = now }

// connected counts a connection.
func (c *counters) connected(now time.Duration) {
	if now-c.rates.since >= estimatePeriod {
		c.rates.advance(now, c.tally())
	}
	c.connections.Add(1)
}

// zero sets all to zero, rates too.
func (c *counters) zero(now time.Duration) {
	c.zeroed = c.tally()
	c.begin(now)
}

// stats are the counters since the last Zero, and the rates at this time.
func (c *counters) stats(now time.Duration) ipvs.Stats {
	n := c.tally()
	c.rates.advance(now, n)
	r := c.rates.perSecond()
	for i := range n {
		n[i] -= c.zeroed[i]
	}
	return ipvs.Stats{
		Connections: n[0], InPackets: n[1], OutPackets: n[2], InBytes: n[3], OutBytes: n[4],
		ConnectionRate: r[0], InPacketRate: r[1], OutPacketRate: r[2], InByteRate: r[3], OutByteRate: r[4],
	}
}

const (
	estimatePeriod = 2 * time.Second
	estimateMost   = 128 // steps after which nothing is left of what a rate was before
)

// estimator has the rates of counters as the kernel estimates them
// (net/netfilter/ipvs/ip_vs_est.c): every two seconds each rate moves by a quarter
// of its distance to the rate of those two seconds. No timer does that here: the
// steps are made up for when somebody looks, as if what has come since the last
// look had come evenly.
type estimator struct {
	since time.Duration // the end of the last step
	last  tally         // at that time
	rates [len(tally{})]int64
}

// advance makes the steps that are due.
func (e *estimator) advance(now time.Duration, n tally) {
	elapsed := now - e.since
	steps := uint64(elapsed / estimatePeriod)
	if elapsed < estimatePeriod {
		return
	}
	span := time.Duration(steps) * estimatePeriod
	for i := range e.rates {
		// Of what has come, the part that came before the end of the last step.
		hi, lo := bits.Mul64(n[i]-e.last[i], uint64(span))
		share, _ := bits.Div64(hi, lo, uint64(elapsed))
		e.last[i] += share
		scale := packetScale
		if i >= firstBytes {
			scale = byteScale
		}
		each, more := share/steps, share%steps
		for step := steps - min(steps, estimateMost); step < steps; step++ {
			in := each
			if step < more {
				in++
			}
			e.rates[i] += (int64(in<<(scale-1)) - e.rates[i]) >> 2
		}
	}
	e.since += span
}

// The kernel's fixed point: binary digits after the point, of connections and
// packets, and of bytes.
const (
	packetScale = 10
	byteScale   = 5
)

func (e *estimator) perSecond() (r tally) {
	for i, rate := range e.rates {
		scale := packetScale
		if i >= firstBytes {
			scale = byteScale
		}
		r[i] = uint64(rate+1<<(scale-1)-1) >> scale
	}
	return r
}
