package ipvs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net"
	"os"
)

// Connections reads the connection table, line by line as it goes: a table of
// any size takes no memory. The kernel gives no snapshot: connections that come
// or go meanwhile may be missing or there twice. An error ends the sequence.
func (c *Client) Connections(ctx context.Context) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		err := c.connections(ctx, yield)
		if err != nil && err != errStopped {
			yield(Connection{}, &OpError{Op: "read connections", Err: err})
		}
	}
}

// errStopped says that the reader of a sequence has enough.
var errStopped = errors.New("stopped")

func (c *Client) connections(ctx context.Context, yield func(Connection, error) bool) error {
	if c.isClosed() {
		return net.ErrClosed
	}
	table, err := c.openTable("ip_vs_conn", parseConnection)
	if err != nil {
		return err
	}
	defer table.file.Close()
	origins, err := c.openTable("ip_vs_conn_sync", parseSyncConnection)
	if err != nil {
		return err
	}
	defer origins.file.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		conn, err := table.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if conn.Origin, err = origins.origin(conn); err != nil {
			return err
		}
		if !yield(conn, nil) {
			return errStopped
		}
	}
}

// connTable is a table of connections that is being read.
type connTable struct {
	file  *os.File
	lines *bufio.Scanner
	parse func([]byte) (Connection, error)
	ahead []Connection // of origin: read but not yet asked for
}

// openTable opens a file of /proc/net in the client's namespace; it stays a
// file of that namespace.
func (c *Client) openTable(name string, parse func([]byte) (Connection, error)) (*connTable, error) {
	t := &connTable{parse: parse}
	err := c.ns.do(func() (err error) {
		t.file, err = os.Open("/proc/thread-self/net/" + name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoModule
	}
	if errors.Is(err, os.ErrClosed) {
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	t.lines = bufio.NewScanner(t.file)
	t.lines.Buffer(make([]byte, 4*maxConnectionLine), 4*maxConnectionLine)
	t.lines.Scan() // the heading
	return t, nil
}

func (t *connTable) next() (Connection, error) {
	if !t.lines.Scan() {
		if err := t.lines.Err(); err != nil {
			return Connection{}, err
		}
		return Connection{}, io.EOF
	}
	return t.parse(t.lines.Bytes())
}

// maxAhead bounds how far origin looks for a connection. Both tables have the
// same order, but for what came and went between the readings.
const maxAhead = 64

// origin finds a connection in the table of origins.
func (t *connTable) origin(c Connection) (Origin, error) {
	for i := 0; i < maxAhead; i++ {
		if i == len(t.ahead) {
			next, err := t.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return OriginUnknown, err
			}
			t.ahead = append(t.ahead, next)
		}
		if found := t.ahead[i]; found.sameEnds(c) {
			t.ahead = append(t.ahead[:0], t.ahead[i+1:]...)
			return found.Origin, nil
		}
	}
	return OriginUnknown, nil
}
