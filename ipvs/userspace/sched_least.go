package userspace

// overhead is the load of a destination: an active connection counts as much as
// 257 inactive ones (include/net/ip_vs.h, ip_vs_dest_conn_overhead; 256 before
// Debian's 6.1.187 and 6.12.105).
func (d *destination) overhead() int64 { return int64(d.active)<<8 + int64(d.total()) }

// delay is the load that a destination would have with the connection that
// comes: active ones only (ip_vs_sed.c, ip_vs_nq.c).
func (d *destination) delay() int64 { return int64(d.active) + 1 }

// leastConnections is lc (ip_vs_lc.c): the smallest overhead. Of equals all
// schedulers here take the first, which was added last.
func leastConnections(s *service, _ flow) (least *destination) {
	for _, d := range s.dests {
		if d.available() && (least == nil || d.overhead() < least.overhead()) {
			least = d
		}
	}
	return least
}

// weightedLeast is wlc (ip_vs_wlc.c): the smallest overhead for its weight.
func weightedLeast(s *service, _ flow) *destination {
	return lightest(s.dests, (*destination).overhead)
}

// shortestDelay is sed (ip_vs_sed.c).
func shortestDelay(s *service, _ flow) *destination { return lightest(s.dests, (*destination).delay) }

// neverQueue is nq (ip_vs_nq.c): the first without an active connection, or
// else the one that sed takes.
func neverQueue(s *service, _ flow) *destination {
	for _, d := range s.dests {
		if d.available() && d.active == 0 {
			return d
		}
	}
	return lightest(s.dests, (*destination).delay)
}

// lightest is the available destination with the smallest load for its weight.
func lightest(dests []*destination, load func(*destination) int64) (least *destination) {
	var lowest int64
	for _, d := range dests {
		if !d.available() {
			continue
		}
		if l := load(d); least == nil || lowest*int64(d.Weight) > l*int64(least.Weight) {
			least, lowest = d, l
		}
	}
	return least
}

// failover is fo (ip_vs_fo.c): the highest weight.
func failover(s *service, _ flow) (highest *destination) {
	for _, d := range s.dests {
		if d.available() && (highest == nil || d.Weight > highest.Weight) {
			highest = d
		}
	}
	return highest
}

// overflow is ovf (ip_vs_ovf.c): the highest weight of those that have not more
// active connections than that.
func overflow(s *service, _ flow) (highest *destination) {
	for _, d := range s.dests {
		if d.available() && d.active <= d.Weight && (highest == nil || d.Weight > highest.Weight) {
			highest = d
		}
	}
	return highest
}
