package ipvs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
)

// Client is the table of virtual services in the kernel of one network
// namespace. It takes CAP_NET_ADMIN in the initial user namespace: a container
// with a user namespace of its own can not use IPVS.
//
// It is safe for concurrent use. Each call looks at the end of its context
// between the messages that it exchanges with the kernel; what a batch of
// changes had done by then stays done.
type Client struct {
	ns  namespace
	log *slog.Logger

	// exchanging is held, by a value in it, for one exchange with the kernel:
	// it guards the use of conns. applying is held for one Apply.
	exchanging, applying chan struct{}

	mu     sync.Mutex // guards what follows
	closed bool
	conns  [2]*conn // nil: to be dialled
}

// The sockets of a client. Nearly all goes by wide; narrow is for the second
// look at a list that the kernel dumps in pieces, and makes others of it.
const (
	wide   = 0
	narrow = 1
)

// Open opens the table of the kernel. The kernel loads ip_vs by itself where it
// has it; where it has not, the error matches ErrNoModule.
func Open(cfg Config) (*Client, error) {
	c := &Client{
		log:        cfg.Logger,
		exchanging: make(chan struct{}, 1),
		applying:   make(chan struct{}, 1),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.ns, err = openNamespace(cfg.NetNS); err != nil {
		return nil, &OpError{Op: "open", Object: cfg.NetNS, Err: err}
	}
	if _, err := c.dial(wide); err != nil {
		c.ns.close()
		return nil, &OpError{Op: "open", Object: cfg.NetNS, Err: err}
	}
	return c, nil
}

// Close ends the client and the calls that are under way: they and all later
// ones match net.ErrClosed. The table stays as it is.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for _, conn := range c.conns {
		if conn != nil {
			conn.close()
		}
	}
	c.mu.Unlock()
	c.exchanging <- struct{}{}
	defer func() { <-c.exchanging }()
	return c.ns.close()
}

// socket is one of the sockets, dialled if need be.
func (c *Client) socket(which int) (*conn, error) {
	c.mu.Lock()
	conn, closed := c.conns[which], c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, net.ErrClosed
	case conn != nil:
		return conn, nil
	}
	return c.dial(which)
}

func (c *Client) dial(which int) (*conn, error) {
	var conn *conn
	err := c.ns.do(func() (err error) {
		conn, err = dial(receiveBuffers[which])
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.close()
		return nil, net.ErrClosed
	}
	c.conns[which] = conn
	return conn, nil
}

// drop gives up a broken socket. It reports whether Close had broken it.
func (c *Client) drop(which int) (closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[which].close()
	c.conns[which] = nil
	return c.closed
}

// exchange calls fn with a socket to itself.
func (c *Client) exchange(ctx context.Context, fn func(*conn) error) error {
	return c.exchangeBy(ctx, wide, fn)
}

// exchangeBy is exchange with a choice of socket. Where the family has got a
// new number since it was dialled it does all once more.
func (c *Client) exchangeBy(ctx context.Context, which int, fn func(*conn) error) error {
	if err := acquire(ctx, c.exchanging); err != nil {
		return err
	}
	defer func() { <-c.exchanging }()
	err := c.try(which, fn)
	if errors.Is(err, errStale) {
		err = c.try(which, fn)
	}
	return err
}

func (c *Client) try(which int, fn func(*conn) error) error {
	conn, err := c.socket(which)
	if err != nil {
		return err
	}
	err = fn(conn)
	if conn.broken && c.drop(which) {
		return net.ErrClosed
	}
	return err
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// acquire takes a lock that is a channel of one, unless ctx ends first.
func acquire(ctx context.Context, lock chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request exchanges one message, whose attributes build appends.
func (c *Client) request(ctx context.Context, cmd command, flags uint16, build func(*encoder), read func([]byte) error) error {
	return c.exchange(ctx, func(conn *conn) error {
		mark := conn.begin(cmd, flags)
		if build != nil {
			build(&conn.enc)
		}
		answer, err := conn.execute(ctx, cmd, mark)
		if err != nil || read == nil {
			return err
		}
		return read(answer)
	})
}
