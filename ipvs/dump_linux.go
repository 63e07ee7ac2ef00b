package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
)

// The kernel writes a dump in pieces of 32 KiB and remembers an index between
// them. It does not say when the table changed meanwhile: what moved by one
// place is then missing or there twice, though nothing happened to it; up to
// 6.12 changes in other network namespaces do the same. So a dump of more than
// one piece counts only when the next says the same. The next goes by another
// socket, whose pieces end in other places: a program that changes the table
// to and fro falls into step with our reads, and two dumps that were cut alike
// would lose the same.

// maxDumps bounds how often a table that does not keep still is read.
const maxDumps = 8

// dumpFunc reads a list in one dump of the kernel, by one of the sockets, in so
// many pieces. It may use the memory of its last result again.
type dumpFunc[V any] func(which int) (values []V, pieces int, err error)

// agreed dumps until one is of a single piece, or two are alike. Where that
// does not happen it returns the last, without what it has twice, and those
// that others had and the last lacks, for the caller to confirm.
func agreed[K comparable, V any](dump dumpFunc[V], key func(*V) K) (values, doubtful []V, err error) {
	var (
		last []K
		seen map[K]V
	)
	for n := range maxDumps {
		var pieces int
		if values, pieces, err = dump(n % 2); err != nil || pieces <= 1 {
			return values, nil, err
		}
		keys := make([]K, len(values))
		index := make(map[K]V, len(values))
		for i := range values {
			keys[i] = key(&values[i])
			index[keys[i]] = values[i]
		}
		if n > 0 && len(index) == len(keys) && slices.Equal(keys, last) {
			return values, nil, nil
		}
		if last = keys; seen == nil {
			seen = index
		}
		maps.Copy(seen, index)
	}
	values = slices.DeleteFunc(values, func(v V) bool {
		k := key(&v)
		_, first := seen[k]
		delete(seen, k)
		return !first
	})
	return values, slices.Collect(maps.Values(seen)), nil
}

// listServices reads all services without their destinations.
func (c *Client) listServices(ctx context.Context, d detail) ([]ServiceStatus, error) {
	var list []ServiceStatus
	list, doubtful, err := agreed(func(which int) (_ []ServiceStatus, pieces int, err error) {
		err = c.exchangeBy(ctx, which, func(conn *conn) error {
			list = list[:0]
			pieces, err = conn.dump(ctx, cmdGetService, conn.begin(cmdGetService, flagDump), func(b []byte) error {
				list = append(list, ServiceStatus{})
				return decodeService(b, &list[len(list)-1], d)
			})
			return err
		})
		return list, pieces, err
	}, func(s *ServiceStatus) ServiceID { return s.ID })
	if err != nil {
		return nil, err
	}
	if len(doubtful) > 0 {
		c.log.Info("the table does not keep still: looking for services one by one", "services", len(doubtful))
	}
	for _, s := range doubtful {
		s, err := c.readService(ctx, s.ID, d)
		switch {
		case isAbsent(err):
		case err != nil:
			return nil, err
		default:
			list = append(list, s)
		}
	}
	return list, nil
}

// readService reads one service without its destinations.
func (c *Client) readService(ctx context.Context, id ServiceID, d detail) (s ServiceStatus, err error) {
	err = c.request(ctx, cmdGetService, 0, func(e *encoder) { e.serviceID(id) }, func(b []byte) error {
		s = ServiceStatus{}
		return decodeService(b, &s, d)
	})
	return s, err
}

// isAbsent reports whether an exchange's error says that there is no such
// service.
func isAbsent(err error) bool {
	k, ok := errors.AsType[kernelErrno](err)
	return ok && errors.Is(explain(k, nil), fs.ErrNotExist)
}

// listDests reads the destinations of a service into the memory of into. Of a
// service that is gone the kernel dumps none, without an error.
func (c *Client) listDests(ctx context.Context, id ServiceID, d detail, into []DestinationStatus) ([]DestinationStatus, error) {
	family := id.AddressFamily()
	// There is no command that confirms one destination: the last dump counts.
	list, _, err := agreed(func(which int) (_ []DestinationStatus, pieces int, err error) {
		err = c.exchangeBy(ctx, which, func(conn *conn) error {
			into = into[:0]
			mark := conn.begin(cmdGetDest, flagDump)
			conn.enc.serviceID(id)
			pieces, err = conn.dump(ctx, cmdGetDest, mark, func(b []byte) error {
				into = append(into, DestinationStatus{})
				return decodeDest(b, &into[len(into)-1], family, d)
			})
			return err
		})
		return into, pieces, err
	}, func(d *DestinationStatus) netip.AddrPort { return d.Addr })
	return list, err
}

// Services reads all services with their destinations, in no particular order.
// What other programs change meanwhile is there or not; all else is there once.
func (c *Client) Services(ctx context.Context) ([]ServiceStatus, error) {
	const op = "read services"
	list, err := c.listServices(ctx, withStats)
	if err != nil {
		return nil, opError(op, "", err, nil)
	}
	var scratch []DestinationStatus
	kept := list[:0]
	for _, s := range list {
		if scratch, err = c.listDests(ctx, s.ID, withStats, scratch); err != nil {
			return nil, opError(op, s.ID.String(), err, nil)
		}
		if len(scratch) == 0 {
			if _, err := c.readService(ctx, s.ID, withoutStats); isAbsent(err) {
				continue
			} else if err != nil {
				return nil, opError(op, s.ID.String(), err, nil)
			}
		}
		s.Destinations = slices.Clone(scratch)
		kept = append(kept, s)
	}
	return kept, nil
}

// Service reads one service with its destinations.
func (c *Client) Service(ctx context.Context, id ServiceID) (ServiceStatus, error) {
	const op = "read service"
	if err := id.validate(); err != nil {
		return ServiceStatus{}, &OpError{Op: op, Object: id.String(), Err: err}
	}
	id = id.normal()
	// The service comes last: its destinations are none where it is missing.
	dests, err := c.listDests(ctx, id, withStats, nil)
	if err != nil {
		return ServiceStatus{}, opError(op, id.String(), err, nil)
	}
	s, err := c.readService(ctx, id, withStats)
	if err != nil {
		return ServiceStatus{}, opError(op, id.String(), err, nil)
	}
	s.Destinations = dests
	return s, nil
}
