package userspace

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// reason is why the table is not changed, with what to do about it. It matches
// kind.
type reason struct {
	text string
	kind error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }

// What the kernel refuses, in the words of ipvs.Client.
var (
	errNoService     error = &reason{"there is no such service", fs.ErrNotExist}
	errService       error = &reason{"there is such a service already", fs.ErrExist}
	errNoDestination error = &reason{"the service has no such destination", fs.ErrNotExist}
	errDestination   error = &reason{"the service has that destination already", fs.ErrExist}
	errNoAddress     error = &reason{"a destination needs an address", fs.ErrInvalid}
)

// validate checks what a change names, and what it sets of a destination. A
// service itself is checked by ipvs.Service.Validate.
func validate(c ipvs.Change) error {
	around := ipvs.Service{ID: c.Service.ID}
	if c.Service.ID.FWMark == 0 && c.Service.ID.Addr.Port() == 0 {
		around.Persistence.Timeout = time.Second // without which port 0 is invalid
	}
	switch c.Op {
	case ipvs.AddDestination, ipvs.UpdateDestination:
		around.Destinations = []ipvs.Destination{c.Destination}
	}
	if err := around.Validate(); err != nil {
		if op, ok := errors.AsType[*ipvs.OpError](err); ok {
			return op.Err
		}
		return err
	}
	if c.Op == ipvs.RemoveDestination && !c.Destination.Addr.IsValid() {
		return errNoAddress
	}
	return nil
}

// refuse says what a table that forwards cannot do of what the kernel can, and
// what no table can do.
func (e *Engine) refuse(c ipvs.Change) error {
	id := c.Service.ID
	switch c.Op {
	case ipvs.AddService, ipvs.UpdateService:
		if err := missing(c.Service); err != nil {
			return err
		}
		if e.plane != nil {
			return refuseService(id)
		}
	case ipvs.AddDestination, ipvs.UpdateDestination:
		if e.plane != nil {
			return refuseDestination(id, c.Destination)
		}
	}
	return nil
}

// missing says which scheduler and persistence engine there are not.
func missing(s ipvs.Service) error {
	var errs []error
	if schedulers[s.Scheduler] == nil {
		errs = append(errs, unknownScheduler(s.Scheduler))
	}
	if name := s.Persistence.Engine; name != "" && name != engineSIP {
		errs = append(errs, &reason{fmt.Sprintf("there is no persistence engine %q: use %s, or none", name, engineSIP), ipvs.ErrNoEngine})
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func refuseService(id ipvs.ServiceID) error {
	switch {
	case id.FWMark != 0:
		return unsupported("userspace sees no firewall marks: use services by address")
	case id.Protocol != ipvs.TCP && id.Protocol != ipvs.UDP:
		return unsupported("userspace forwards TCP and UDP, not " + id.Protocol.String() + ": use the kernel's table, ipvs.Open")
	case id.Addr.Port() == 0:
		return unsupported("userspace cannot listen on every port: use a service for each port")
	}
	return nil
}

// refuseDestination takes address translation, and what is on this machine: both
// are a connection to the destination's address.
func refuseDestination(id ipvs.ServiceID, d ipvs.Destination) error {
	switch d.Forward {
	case ipvs.ForwardMasq, ipvs.ForwardLocal:
	default:
		return unsupported("userspace forwards by address translation, not by " + d.Forward.String() +
			": set Forward to ForwardMasq, or use the kernel's table, ipvs.Open")
	}
	if d.Addr == id.Addr {
		return unsupported("the real server is the service itself, which would connect to itself for ever: use the address or port of the program that answers")
	}
	return nil
}

func unsupported(text string) error { return &reason{text, errors.ErrUnsupported} }

// object names what a change is about, as ipvs.Client does.
func object(c ipvs.Change) string {
	switch c.Op {
	case ipvs.AddDestination, ipvs.UpdateDestination, ipvs.RemoveDestination:
		return c.Service.ID.String() + " -> " + c.Destination.Addr.String()
	}
	return c.Service.ID.String()
}

func opError(c ipvs.Change, err error) error {
	return &ipvs.OpError{Op: c.Op.String(), Object: object(c), Err: err}
}

// normalID and normalDestination are the forms in which the table has them.
func normalID(id ipvs.ServiceID) ipvs.ServiceID { return ipvs.Service{ID: id}.Normal().ID }

func normalDestination(d ipvs.Destination) ipvs.Destination {
	d.Addr = unmap(d.Addr)
	return ipvs.Service{Destinations: []ipvs.Destination{d}}.Normal().Destinations[0]
}

// unmap is an address as the kernel can hold it: without a zone, and IPv4 where
// it is IPv4 in IPv6 form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
