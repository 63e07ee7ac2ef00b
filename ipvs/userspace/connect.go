package userspace

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"

	"github.com/lvskit/lvskit/ipvs"
)

// ErrNoDestination says that no destination of a service may take a connection:
// it has none, or all of them have weight 0 or as many connections as their upper
// threshold allows, or its scheduler takes none of them.
var ErrNoDestination = errors.New("no destination may take a connection: all are of weight 0, overloaded or missing")

// Conn is a connection of the table without sockets: one that Engine.Connect has
// scheduled. It is safe for concurrent use.
type Conn struct {
	e *Engine
	c *connection
}

// Connect schedules a connection as if the client had opened it, and has it
// counted and listed until it is closed; nothing is sent to anybody. It is for
// the tests of programs that look at what a table does with connections, above all
// with an Engine of Config.TableOnly. Each call is another connection, whatever
// the port of the client.
//
// A connection of TCP is in the state ipvs.StateSynRecv, which counts as active;
// one of UDP is ipvs.StateUDP and counts as inactive. Connections of a firewall
// mark are of TCP and have no virtual address.
//
// Errors match fs.ErrNotExist for a service that is not in the table,
// fs.ErrInvalid for a client without an address or of the other family, and
// ErrNoDestination.
func (e *Engine) Connect(id ipvs.ServiceID, client netip.AddrPort) (*Conn, error) {
	const op = "connect"
	client = unmap(client)
	if !client.IsValid() || client.Addr().Is6() != (id.AddressFamily() == ipvs.IPv6) {
		err := &reason{"the client needs an address of the service's family, " + id.AddressFamily().String(), fs.ErrInvalid}
		return nil, &ipvs.OpError{Op: op, Object: id.String(), Err: err}
	}
	var c *connection
	err := e.lookAt(context.Background(), op, id, func(s *service) { c = e.schedule(s, client, nil) })
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return nil, &ipvs.OpError{Op: op, Object: id.String(), Err: ErrNoDestination}
	}
	return &Conn{e, c}, nil
}

// Destination is the real server that the connection goes to.
func (c *Conn) Destination() netip.AddrPort { return c.c.dest.Addr }

// Become says what state the connection is in now. Of TCP ipvs.StateEstablished,
// StateSynSent, StateSynRecv and StateSynAck count as active, of SCTP
// StateEstablished alone; all others count as inactive. It does nothing after
// Close.
func (c *Conn) Become(state ipvs.ConnectionState) { c.e.become(c.c, state) }

// Close ends the connection: it is not in the table any more. It returns nil, and
// does nothing the second time.
func (c *Conn) Close() error {
	c.e.leave(c.c)
	return nil
}
