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
	return e.schedule(s, client, o)
}

// schedule is admit for who holds Engine.mu.
func (e *Engine) schedule(s *service, client netip.AddrPort, o owner) *connection {
	now := e.now()
	d := s.sched.pick(s, flow{client: client, virtual: s.ID.Addr, now: now})
	if d == nil {
		return nil
	}
	c := &connection{service: s, dest: d, client: client, owner: o}
	c.state = firstState(c.protocol())
	c.last.Store(int64(now))
	d.join(c)
	s.stats.connected(now)
	d.stats.connected(now)
	return c
}

// protocol is that of the service; connections of a firewall mark, which has none,
// are of TCP.
func (c *connection) protocol() ipvs.Protocol {
	if p := c.service.ID.Protocol; p != 0 {
		return p
	}
	return ipvs.TCP
}

func firstState(p ipvs.Protocol) ipvs.ConnectionState {
	switch p {
	case ipvs.TCP:
		return ipvs.StateSynRecv
	case ipvs.SCTP:
		return "INIT1"
	}
	return ipvs.StateUDP
}

// become tells the table of another state of a connection, which the
// destination may count otherwise: see isActive.
func (e *Engine) become(c *connection, state ipvs.ConnectionState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.dest.turn(c, state)
}

// leave takes a connection that has ended out of the table.
func (e *Engine) leave(c *connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.dest.part(c)
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
