package userspace

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// connection is an entry of the connection table: a TCP connection or a UDP
// session. Engine.mu guards it, but for what is atomic or never changes.
type connection struct {
	service *service
	dest    *destination
	client  netip.AddrPort
	owner   owner // nil: it has no sockets (Engine.Connect)
	state   ipvs.ConnectionState
	last    atomic.Int64 // when something was last forwarded, in nanoseconds since the epoch

	prev, next *connection // in dest.conns
}

// connectionList are the connections of a destination.
type connectionList struct {
	head *connection
	n    int
}

func (l *connectionList) add(c *connection) {
	c.prev, c.next = nil, l.head
	if l.head != nil {
		l.head.prev = c
	}
	l.head = c
	l.n++
}

func (l *connectionList) remove(c *connection) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}

// admit schedules a connection that has come in. It is nil if no destination
// may take it.
func (e *Engine) admit(s *service, client netip.AddrPort, o owner) *connection {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	d := s.sched.pick(s, flow{client: client, virtual: s.ID.Addr, now: now})
	if d == nil {
		return nil
	}
	c := &connection{service: s, dest: d, client: client, owner: o, state: firstState(s.ID.Protocol)}
	c.last.Store(int64(now))
	d.conns.add(c)
	d.inactive++
	s.stats.connections.Add(1)
	d.stats.connections.Add(1)
	return c
}

func firstState(p ipvs.Protocol) ipvs.ConnectionState {
	if p == ipvs.UDP {
		return ipvs.StateUDP
	}
	return ipvs.StateSynRecv
}

// become tells the table of another state of a connection: only
// ipvs.StateEstablished counts as active.
func (e *Engine) become(c *connection, state ipvs.ConnectionState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch was, is := c.state == ipvs.StateEstablished, state == ipvs.StateEstablished; {
	case is && !was:
		c.dest.active, c.dest.inactive = c.dest.active+1, c.dest.inactive-1
	case was && !is:
		c.dest.active, c.dest.inactive = c.dest.active-1, c.dest.inactive+1
	}
	c.state = state
}

// leave takes a connection that has ended out of the table.
func (e *Engine) leave(c *connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.state == ipvs.StateEstablished {
		c.dest.active--
	} else {
		c.dest.inactive--
	}
	c.dest.conns.remove(c)
}

// received counts what came from the client.
func (c *connection) received(now time.Duration, packets, bytes int) {
	c.last.Store(int64(now))
	for _, s := range [...]*counters{&c.service.stats, &c.dest.stats} {
		s.inPackets.Add(uint64(packets))
		s.inBytes.Add(uint64(bytes))
	}
}

// sent counts what went to the client.
func (c *connection) sent(now time.Duration, packets, bytes int) {
	c.last.Store(int64(now))
	for _, s := range [...]*counters{&c.service.stats, &c.dest.stats} {
		s.outPackets.Add(uint64(packets))
		s.outBytes.Add(uint64(bytes))
	}
}
