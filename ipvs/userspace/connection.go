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

	template *template // what remembers the client, nil without persistence
	listed   bool      // it is in the table: in dest.conns, and counted

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
	return s.admit(flow{client: client, virtual: s.ID.Addr, now: e.now()}, o)
}

// admit is Engine.schedule at a time. A connection of a OnePacket service is
// counted, and has left the table when admit returns.
func (s *service) admit(f flow, o owner) *connection {
	d, t := s.choose(f)
	if d == nil {
		return nil
	}
	c := &connection{service: s, dest: d, client: f.client, owner: o, template: t}
	c.state = firstState(c.protocol())
	c.last.Store(int64(f.now))
	c.listed = true
	if t != nil {
		t.controls++
	}
	d.join(c)
	s.stats.connected(f.now)
	d.stats.connected(f.now)
	if s.Flags&ipvs.OnePacket != 0 {
		c.leave(f.now)
	}
	return c
}

// choose is the destination of a new connection: the one that its client is
// remembered to have, or else the scheduler's choice. It is nil if none may take
// it.
func (s *service) choose(f flow) (*destination, *template) {
	if s.Persistence.Timeout == 0 {
		return s.sched.pick(s, f), nil
	}
	if s.Persistence.Engine == engineSIP && f.callID == "" {
		return nil, nil // the kernel drops what it finds no Call-ID in
	}
	s.templates.expire(f.now)
	key := s.templateKey(f)
	t := s.templates.find(key)
	if t == nil {
		d := s.sched.pick(s, f)
		if d == nil {
			return nil, nil
		}
		t = s.templates.add(key, d, s.Persistence.Timeout)
	}
	s.templates.renew(t, f.now)
	return t.dest, t
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
	c.become(state)
}

// become is Engine.become for who holds Engine.mu.
func (c *connection) become(state ipvs.ConnectionState) {
	if !c.listed {
		return
	}
	if state == ipvs.StateEstablished {
		c.assure()
	}
	c.dest.turn(c, state)
}

// leave takes a connection that has ended out of the table.
func (e *Engine) leave(c *connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.leave(e.now())
}

// leave is Engine.leave for who holds Engine.mu. It does nothing if the
// connection has left already.
func (c *connection) leave(now time.Duration) {
	if !c.listed {
		return
	}
	c.listed = false
	if c.template != nil {
		c.template.release(now)
	}
	c.dest.part(c)
	c.dest.idle = now
}

// assure marks the template of a connection whose real server has answered.
func (c *connection) assure() {
	if t := c.template; t != nil && !t.assured.Load() {
		t.assured.Store(true)
	}
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
	c.assure()
	for _, s := range [...]*counters{&c.service.stats, &c.dest.stats} {
		s.outPackets.Add(uint64(packets))
		s.outBytes.Add(uint64(bytes))
	}
}
