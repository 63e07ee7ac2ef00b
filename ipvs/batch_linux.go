package ipvs

import (
	"context"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// failure is a change that the kernel refused.
type failure struct {
	change Change
	errno  kernelErrno
}

type failures []failure

// err is all of them in words.
func (fs failures) err() error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = opError(f.change.Op.String(), f.change.object(), f.errno, &f.change.Service)
	}
	return errors.Join(errs...)
}

// execute makes changes in their order, many to a system call. A change that
// the kernel refuses does not keep it from those that follow. It returns those
// that were made, in the memory of changes, and those that were refused; an
// error besides means that of the rest nothing is known.
func (c *Client) execute(ctx context.Context, changes []Change) (made []Change, failed failures, err error) {
	made = changes[:0]
	for rest := changes; len(rest) > 0; {
		var (
			n     int
			wrong []refused
		)
		err = c.exchange(ctx, func(conn *conn) (err error) {
			n, wrong, err = conn.batch(ctx, rest)
			return err
		})
		if err != nil {
			return made, failed, opError("change table", strconv.Itoa(len(rest))+" changes", err, nil)
		}
		from := 0
		for _, w := range wrong {
			failed = append(failed, failure{rest[w.index], w.errno})
			made = appendInPlace(made, rest[from:w.index])
			from = w.index + 1
		}
		made = appendInPlace(made, rest[from:n])
		rest = rest[n:]
	}
	return made, failed, nil
}

// appendInPlace appends more, which lies in the same array further on, or just
// behind made: then nothing has to move.
func appendInPlace(made, more []Change) []Change {
	if len(more) > 0 && len(made) < cap(made) && &made[:len(made)+1][len(made)] == &more[0] {
		return made[:len(made)+len(more)]
	}
	return append(made, more...)
}

// refused is a message of a batch that was answered with an error.
type refused struct {
	index int // of the change
	errno kernelErrno
}

// batch sends as many of the changes as fit, and returns their number and those
// that the kernel refused. Only the last asks for an acknowledgement: errors
// come without being asked for, and each has the number of its message. A batch
// is bounded so that the receive buffer takes an error for every message.
func (c *conn) batch(ctx context.Context, changes []Change) (n int, wrong []refused, err error) {
	c.enc.b = c.enc.b[:0]
	var (
		first = c.seq + 1
		last  int
		cmds  = make([]command, 0, min(len(changes), c.maxMessages))
	)
	for n < len(changes) && n < c.maxMessages {
		size := len(c.enc.b)
		mark, cmd := c.enc.change(c.family, flagRequest, first+uint32(n), &changes[n])
		if len(c.enc.b) > c.maxBytes && n > 0 {
			c.enc.b = c.enc.b[:size]
			break
		}
		last, cmds = mark, append(cmds, cmd)
		n++
	}
	c.enc.addFlags(last, flagAck)
	c.seq += uint32(n)
	err = c.answers(ctx, func(m message, _ bool) (bool, error) {
		i := m.seq - first
		if m.typ != messageError || i >= uint32(n) {
			return false, errSequence
		}
		errno, err := m.errno()
		if errno != 0 {
			wrong = append(wrong, refused{int(i), kernelErrno{cmds[i], unix.Errno(errno)}})
		}
		return i == uint32(n)-1, err
	})
	if err != nil {
		return 0, nil, err
	}
	return n, wrong, c.checkFamily(ctx, wrong)
}

// checkFamily looks whether ENOENT comes from IPVS or from the lack of it.
func (c *conn) checkFamily(ctx context.Context, wrong []refused) error {
	for _, f := range wrong {
		if f.errno.errno == unix.ENOENT {
			err := c.kernelError(ctx, f.errno.cmd, int(unix.ENOENT))
			if _, ok := errors.AsType[kernelErrno](err); ok {
				return nil
			}
			return err
		}
	}
	return nil
}
