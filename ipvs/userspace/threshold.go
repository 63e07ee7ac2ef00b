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

// bound looks at the upper threshold. It is called after each connection and
// each persistence template that the destination got; templates do not count
// (ip_vs_conn.c, ip_vs_bind_dest).
func (d *destination) bound() {
	if d.Upper != 0 && uint64(d.active+d.inactive) >= uint64(d.Upper) {
		d.overload = true
	}
}

// unbound looks at the lower threshold, which is three quarters of the upper one
// where there is none. It is called after each connection and each persistence
// template that has ended (ip_vs_conn.c, ip_vs_unbind_dest).
func (d *destination) unbound() {
	switch n := uint64(d.active + d.inactive); {
	case d.Lower != 0:
		if n < uint64(d.Lower) {
			d.overload = false
		}
	case n*4 < uint64(d.Upper)*3, d.Upper == 0:
		d.overload = false
	}
}

// set takes what is wanted of a destination. Only an upper threshold that is
// higher than before, or gone, ends an overload: a lower one is not looked at
// before the next connection comes or ends (ip_vs_ctl.c, __ip_vs_update_dest).
func (d *destination) set(wanted ipvs.Destination) {
	if wanted.Upper == 0 || wanted.Upper > d.Upper {
		d.overload = false
	}
	d.Destination = wanted
}
