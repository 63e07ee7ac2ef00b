package userspace

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// model is a table as one would explain it: a list of services, each wanted as it
// is, with nothing shared with the Engine but the rules of what is valid.
type model struct {
	list []ipvs.Service // in normal form
	idle ipvs.Timeouts
}

func (m *model) at(id ipvs.ServiceID) int {
	id = ipvs.Service{ID: id}.Normal().ID
	return slices.IndexFunc(m.list, func(s ipvs.Service) bool { return s.ID == id })
}

func fail(op, object string, err error) error { return &ipvs.OpError{Op: op, Object: object, Err: err} }

// known finds out whether what a service names is there.
func (m *model) known(s ipvs.Service) error {
	var errs []error
	if !slices.Contains([]ipvs.Scheduler{
		"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "none",
	}, s.Normal().Scheduler) {
		errs = append(errs, ipvs.ErrNoScheduler)
	}
	if s.Persistence.Engine != "" && s.Persistence.Engine != "sip" {
		errs = append(errs, ipvs.ErrNoEngine)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// check is what is wrong with the name of a service, or with a destination for it.
func (m *model) check(op string, id ipvs.ServiceID, d *ipvs.Destination) error {
	s, object := ipvs.Service{ID: id}, id.String()
	if id.FWMark == 0 && id.Addr.Port() == 0 {
		s.Persistence.Timeout = time.Hour
	}
	if d != nil {
		object += " -> " + d.Addr.String()
		s.Destinations = []ipvs.Destination{*d}
	}
	if s.Validate() != nil {
		return fail(op, object, fs.ErrInvalid)
	}
	return nil
}

func (m *model) AddService(_ context.Context, s ipvs.Service) error {
	if err := s.Validate(); err != nil {
		return err
	}
	n := s.Normal()
	if m.at(s.ID) >= 0 {
		return fail("add service", n.ID.String(), fs.ErrExist)
	}
	if err := m.known(s); err != nil {
		return fail("add service", n.ID.String(), err)
	}
	m.list = append(m.list, n)
	return nil
}

func (m *model) UpdateService(_ context.Context, s ipvs.Service) error {
	s.Destinations = nil
	if err := s.Validate(); err != nil {
		return err
	}
	n, i := s.Normal(), m.at(s.ID)
	if i < 0 {
		return fail("update service", n.ID.String(), fs.ErrNotExist)
	}
	if err := m.known(s); err != nil {
		return fail("update service", n.ID.String(), err)
	}
	n.Destinations = m.list[i].Destinations
	m.list[i] = n
	return nil
}

func (m *model) RemoveService(_ context.Context, id ipvs.ServiceID) error {
	return m.named("remove service", id, func(i int) { m.list = slices.Delete(m.list, i, i+1) })
}

func (m *model) Zero(_ context.Context, id ipvs.ServiceID) error {
	return m.named("zero", id, func(int) {})
}

func (m *model) named(op string, id ipvs.ServiceID, do func(int)) error {
	if err := m.check(op, id, nil); err != nil {
		return err
	}
	i := m.at(id)
	if i < 0 {
		return fail(op, ipvs.Service{ID: id}.Normal().ID.String(), fs.ErrNotExist)
	}
	do(i)
	return nil
}

func (m *model) AddDestination(_ context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return m.change("add destination", id, d)
}

func (m *model) UpdateDestination(_ context.Context, id ipvs.ServiceID, d ipvs.Destination) error {
	return m.change("update destination", id, d)
}

func (m *model) RemoveDestination(_ context.Context, id ipvs.ServiceID, addr netip.AddrPort) error {
	return m.change("remove destination", id, ipvs.Destination{Addr: addr})
}

func (m *model) change(op string, id ipvs.ServiceID, d ipvs.Destination) error {
	wrong := m.check(op, id, &d)
	if op == "remove destination" {
		if wrong = m.check(op, id, nil); wrong != nil || !d.Addr.IsValid() {
			wrong = fail(op, id.String()+" -> "+d.Addr.String(), fs.ErrInvalid)
		}
	}
	if wrong != nil {
		return wrong
	}
	object := ipvs.Service{ID: id}.Normal().ID.String() + " -> " + d.Addr.String()
	d = ipvs.Service{Destinations: []ipvs.Destination{d}}.Normal().Destinations[0]
	d.Addr = netip.AddrPortFrom(d.Addr.Addr().WithZone(""), d.Addr.Port())
	i := m.at(id)
	if i < 0 {
		return fail(op, object, fs.ErrNotExist)
	}
	ds := m.list[i].Destinations
	j := slices.IndexFunc(ds, func(have ipvs.Destination) bool { return have.Addr == d.Addr })
	switch {
	case op == "add destination" && j >= 0:
		return fail(op, object, fs.ErrExist)
	case op == "add destination":
		m.list[i].Destinations = append(ds, d)
	case j < 0:
		return fail(op, object, fs.ErrNotExist)
	case op == "update destination":
		ds[j] = d
	default:
		m.list[i].Destinations = slices.Delete(ds, j, j+1)
	}
	return nil
}

func (m *model) Plan(_ context.Context, want []ipvs.Service, p ipvs.Policy) ([]ipvs.Change, error) {
	return ipvs.Plan(m.list, want, p)
}

func (m *model) Apply(ctx context.Context, want []ipvs.Service, p ipvs.Policy) (made []ipvs.Change, _ error) {
	changes, err := ipvs.Plan(m.list, want, p)
	if err != nil {
		return nil, err
	}
	var errs []error
	missing := map[ipvs.ServiceID]bool{}
	for _, c := range changes {
		err := m.run(ctx, c)
		switch {
		case err == nil:
			made = append(made, c)
		case c.Op == ipvs.AddService:
			missing[c.Service.ID] = true
			errs = append(errs, err)
		case !missing[c.Service.ID]:
			errs = append(errs, err)
		}
	}
	return made, errors.Join(errs...)
}

func (m *model) run(ctx context.Context, c ipvs.Change) error {
	switch c.Op {
	case ipvs.AddService:
		return m.AddService(ctx, c.Service)
	case ipvs.UpdateService:
		return m.UpdateService(ctx, c.Service)
	case ipvs.RemoveService:
		return m.RemoveService(ctx, c.Service.ID)
	}
	return m.change(c.Op.String(), c.Service.ID, c.Destination)
}

func (m *model) Service(_ context.Context, id ipvs.ServiceID) (st ipvs.ServiceStatus, _ error) {
	return st, m.named("read service", id, func(i int) { st = status(m.list[i]) })
}

func (m *model) Services(context.Context) (list []ipvs.ServiceStatus, _ error) {
	for _, s := range m.list {
		list = append(list, status(s))
	}
	return list, nil
}

func status(s ipvs.Service) ipvs.ServiceStatus {
	st := ipvs.ServiceStatus{Service: s}
	st.Service.Destinations = nil
	for _, d := range slices.Backward(s.Destinations) {
		st.Destinations = append(st.Destinations, ipvs.DestinationStatus{Destination: d})
	}
	return st
}

func (m *model) ZeroAll(context.Context) error { return nil }

func (m *model) Flush(context.Context) error {
	m.list = nil
	return nil
}

func (m *model) Timeouts(context.Context) (ipvs.Timeouts, error) { return m.idle, nil }

func (m *model) SetTimeouts(_ context.Context, t ipvs.Timeouts) error {
	for _, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		if d < 0 || d > 2147482*time.Second || d != d.Truncate(time.Second) {
			return fail("set timeouts", "", fs.ErrInvalid)
		}
	}
	set := func(have *time.Duration, want time.Duration) {
		if want != 0 {
			*have = want
		}
	}
	set(&m.idle.TCP, t.TCP)
	set(&m.idle.TCPFin, t.TCPFin)
	set(&m.idle.UDP, t.UDP)
	return nil
}

func TestDifferenceFromAModel(t *testing.T) {
	n := 100_000
	if testing.Short() || need.Emulated() {
		n = 3000
	}
	difference(t, tableOnly(t), &model{idle: ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}}, n)
}
