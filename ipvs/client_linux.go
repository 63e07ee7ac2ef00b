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
	// it guards conn. applying is held for one Apply.
	exchanging, applying chan struct{}
	conn                 *conn // nil: to be dialled

	mu     sync.Mutex // guards closed and open
	closed bool
	open   *conn // conn, for Close to cut off
}

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
	if err := c.dial(); err != nil {
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
	if c.open != nil {
		c.open.close()
	}
	c.mu.Unlock()
	c.exchanging <- struct{}{}
	defer func() { <-c.exchanging }()
	c.conn = nil
	return c.ns.close()
}

// dial makes conn.
func (c *Client) dial() error {
	var conn *conn
	err := c.ns.do(func() (err error) {
		conn, err = dial()
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.close()
		return net.ErrClosed
	}
	c.conn, c.open = conn, conn
	return nil
}

// drop gives up a broken socket.
func (c *Client) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.close()
	c.conn, c.open = nil, nil
}

// exchange calls fn with the socket to itself. Where the family has got a new
// number since it was dialled it does so once more.
func (c *Client) exchange(ctx context.Context, fn func(*conn) error) error {
	if err := acquire(ctx, c.exchanging); err != nil {
		return err
	}
	defer func() { <-c.exchanging }()
	err := c.try(fn)
	if errors.Is(err, errStale) {
		err = c.try(fn)
	}
	return err
}

func (c *Client) try(fn func(*conn) error) error {
	if c.isClosed() {
		return net.ErrClosed
	}
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	err := fn(c.conn)
	if c.conn.broken {
		c.drop()
		if c.isClosed() {
			return net.ErrClosed
		}
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
