package userspace

import "github.com/lvskit/lvskit/ipvs"

// isActive tells how a destination counts a connection in a state: as active, or
// as inactive (net/netfilter/ipvs/ip_vs_proto_tcp.c, tcp_state_active_table; of
// SCTP only what is established is active, of UDP nothing).
func isActive(p ipvs.Protocol, s ipvs.ConnectionState) bool {
	switch s {
	case ipvs.StateEstablished:
		return true
	case ipvs.StateSynSent, ipvs.StateSynRecv, ipvs.StateSynAck:
		return p == ipvs.TCP
	}
	return false
}

// count is the number in which a destination counts a connection in a state.
func (d *destination) count(p ipvs.Protocol, s ipvs.ConnectionState) *int {
	if isActive(p, s) {
		return &d.active
	}
	return &d.inactive
}

// join counts a connection that was scheduled.
func (d *destination) join(c *connection) {
	d.conns.add(c)
	*d.count(c.protocol(), c.state)++
	d.bound()
}

// turn counts a connection that has another state.
func (d *destination) turn(c *connection, state ipvs.ConnectionState) {
	*d.count(c.protocol(), c.state)--
	c.state = state
	*d.count(c.protocol(), c.state)++
}

// part no longer counts a connection that has ended.
func (d *destination) part(c *connection) {
	d.conns.remove(c)
	*d.count(c.protocol(), c.state)--
	d.unbound()
}

// bound looks at the upper threshold. It is called after each connection that
// the destination got; templates do not count (ip_vs_conn.c, ip_vs_bind_dest).
// Like the kernel's it looks for the very number: who gets thresholds while it
// has more connections is overloaded by set.
func (d *destination) bound() {
	if d.Upper != 0 && uint64(d.total()) == uint64(d.Upper) {
		d.overload = true
	}
}

// unbound looks at the lower threshold. It is called after each connection that
// has ended (ip_vs_conn.c, ip_vs_unbind_dest).
func (d *destination) unbound() {
	if d.Upper != 0 && uint64(d.total())+1 == d.lower() {
		d.overload = false
	}
}

// total is the number of connections that is compared with the thresholds.
func (d *destination) total() int { return d.active + d.inactive }

// lower is the lower threshold, which is three quarters of the upper one where
// there is none.
func (d *destination) lower() uint64 {
	if d.Lower != 0 {
		return uint64(d.Lower)
	}
	return uint64(d.Upper - d.Upper/4)
}

// set takes what is wanted of a destination. Other thresholds than before say
// anew whether it is overloaded, but for a number of connections between them,
// where it stays what it is (ip_vs_ctl.c, __ip_vs_dest_update_overload; before
// Debian's 6.1.187 and 6.12.105 only a higher or no upper one ended an overload).
func (d *destination) set(wanted ipvs.Destination) {
	same := wanted.Upper == d.Upper && wanted.Lower == d.Lower
	if d.Addr != wanted.Addr { // it is new; else workers may read the address now
		d.Addr = wanted.Addr
	}
	d.Forward, d.Tunnel, d.Weight, d.Upper, d.Lower = wanted.Forward, wanted.Tunnel, wanted.Weight, wanted.Upper, wanted.Lower
	switch total := uint64(d.total()); {
	case same:
	case wanted.Upper == 0 || total < d.lower():
		d.overload = false
	case total >= uint64(wanted.Upper):
		d.overload = true
	}
}
