package userspace

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

// questions makes operations.
type questions struct {
	tabletest.Random
	named [4]ipvs.ServiceID // some services that were asked for
	real  [8]realServer     // and some destinations
}

type realServer struct {
	service ipvs.ServiceID
	addr    netip.AddrPort
}

// remember keeps a destination in mind.
func (q *questions) remember(id ipvs.ServiceID, d ipvs.Destination) {
	q.real[q.IntN(len(q.real))] = realServer{id, d.Addr}
}

// id is the name of a service, more often than not of one that may be there.
func (q *questions) id() ipvs.ServiceID {
	if id := q.named[q.IntN(len(q.named))]; id != (ipvs.ServiceID{}) && q.IntN(5) > 0 {
		return q.maybeBad(id)
	}
	return q.maybeBad(q.ID())
}

// service is a service for one of those names.
func (q *questions) service() ipvs.Service {
	s := q.Service()
	q.named[q.IntN(len(q.named))] = s.ID
	for _, d := range s.Destinations {
		q.remember(s.ID, d)
	}
	if q.IntN(8) > 0 {
		return s
	}
	return q.spoil(s)
}

// update is a service that may be there, with other settings.
func (q *questions) update() ipvs.Service {
	s := q.Service()
	for range 20 {
		if id := q.id(); id.FWMark != 0 == (s.ID.FWMark != 0) && id.Protocol == s.ID.Protocol && id.AddressFamily() == s.ID.AddressFamily() {
			s.ID = id
			break
		}
	}
	if q.IntN(8) == 0 {
		return q.spoil(s)
	}
	return s
}

func (q *questions) next() question {
	switch n := q.IntN(100); {
	case n < 16:
		s := q.service()
		return op("AddService", s, func(ctx context.Context, t subject) error { return t.AddService(ctx, s) })
	case n < 24:
		s := q.update()
		return op("UpdateService", s, func(ctx context.Context, t subject) error { return t.UpdateService(ctx, s) })
	case n < 30:
		id := q.id()
		return op("RemoveService", id, func(ctx context.Context, t subject) error { return t.RemoveService(ctx, id) })
	case n < 72:
		return q.destination()
	case n < 78:
		return q.apply()
	case n < 84:
		return q.plan()
	case n < 92:
		id := q.id()
		return question{fmt.Sprintf("Service %+v", id), func(ctx context.Context, t subject) (any, error) {
			st, err := t.Service(ctx, id)
			return ipvs.Service{ID: st.ID, Scheduler: st.Scheduler, Flags: st.Flags, Persistence: st.Persistence}, err
		}}
	case n < 94:
		id := q.id()
		return op("Zero", id, func(ctx context.Context, t subject) error { return t.Zero(ctx, id) })
	case n < 95:
		return op("ZeroAll", "", func(ctx context.Context, t subject) error { return t.ZeroAll(ctx) })
	case n < 99:
		return q.timeouts()
	}
	if q.IntN(4) > 0 {
		return q.next()
	}
	return op("Flush", "", func(ctx context.Context, t subject) error { return t.Flush(ctx) })
}

func op(name string, about any, ask func(context.Context, subject) error) question {
	return question{fmt.Sprintf("%s %+v", name, about), func(ctx context.Context, t subject) (any, error) { return nil, ask(ctx, t) }}
}

func (q *questions) destination() question {
	id := q.id()
	d := q.Destination(q.someID(id), q.IntN(5))
	if r := q.real[q.IntN(len(q.real))]; r.addr.IsValid() && q.IntN(2) == 0 {
		id, d = r.service, q.Destination(r.service, 0)
		d.Addr = r.addr
	}
	switch a := d.Addr.Addr(); {
	case q.IntN(10) == 0:
		d = q.spoilDestination(d)
	case a.Is4() && q.IntN(10) == 0: // the same in another form
		d.Addr = netip.AddrPortFrom(netip.AddrFrom16(a.As16()), d.Addr.Port())
	}
	about := fmt.Sprintf("%v %+v", id, d)
	switch q.IntN(3) {
	case 0:
		q.remember(id, d)
		return op("AddDestination", about, func(ctx context.Context, t subject) error { return t.AddDestination(ctx, id, d) })
	case 1:
		return op("UpdateDestination", about, func(ctx context.Context, t subject) error { return t.UpdateDestination(ctx, id, d) })
	}
	return op("RemoveDestination", about, func(ctx context.Context, t subject) error { return t.RemoveDestination(ctx, id, d.Addr) })
}

// someID is the service for which a destination is made: nearly always its own.
func (q *questions) someID(id ipvs.ServiceID) ipvs.ServiceID {
	if q.IntN(20) == 0 {
		return q.ID()
	}
	return id
}

func (q *questions) wanted() (want []ipvs.Service, policy ipvs.Policy) {
	want = q.Table(6)
	for i := range want {
		if q.IntN(15) == 0 {
			want[i] = q.spoil(want[i])
		}
	}
	policy.KeepWeights = q.IntN(3) == 0
	switch q.IntN(4) {
	case 0:
		policy.Owns = ipvs.OwnAll
	case 1:
		policy.Owns = func(id ipvs.ServiceID) bool { return id.AddressFamily() == ipvs.IPv6 }
	}
	return want, policy
}

func (q *questions) apply() question {
	want, policy := q.wanted()
	return question{fmt.Sprintf("Apply %+v, %+v", want, policy), func(ctx context.Context, t subject) (any, error) {
		return t.Apply(ctx, want, policy)
	}}
}

func (q *questions) plan() question {
	want, policy := q.wanted()
	return question{fmt.Sprintf("Plan %+v, %+v", want, policy), func(ctx context.Context, t subject) (any, error) {
		return t.Plan(ctx, want, policy)
	}}
}

func (q *questions) timeouts() question {
	if q.IntN(2) == 0 {
		return question{"Timeouts", func(ctx context.Context, t subject) (any, error) { return t.Timeouts(ctx) }}
	}
	some := func() time.Duration {
		return []time.Duration{0, time.Second, time.Hour, maxIdle, maxIdle + time.Second, -time.Second, time.Millisecond}[q.IntN(8)%7*q.IntN(2)]
	}
	set := ipvs.Timeouts{TCP: some(), TCPFin: some(), UDP: some()}
	return op("SetTimeouts", set, func(ctx context.Context, t subject) error { return t.SetTimeouts(ctx, set) })
}

func (q *questions) maybeBad(id ipvs.ServiceID) ipvs.ServiceID {
	if q.IntN(25) > 0 {
		return id
	}
	switch q.IntN(6) {
	case 0:
		id.Protocol = 0
	case 1:
		id.Addr = netip.AddrPort{}
	case 2:
		id.FWMark, id.Protocol = 3, 1
	case 3:
		id.Family = 7
	case 4:
		id.Addr = netip.MustParseAddrPort("224.0.0.1:80")
	case 5:
		return ipvs.ServiceID{}
	}
	return id
}

// spoil makes a service that is refused, in most cases.
func (q *questions) spoil(s ipvs.Service) ipvs.Service {
	switch q.IntN(9) {
	case 0:
		s.Scheduler = "no-such"
	case 1:
		s.Persistence.Engine = "no-such"
	case 2:
		s.Flags |= 0x100
	case 3:
		s.Persistence.Mask = 33
	case 4:
		s.Persistence.Timeout = []time.Duration{0, 1, -time.Second, 32 * 24 * time.Hour}[q.IntN(4)]
	case 5:
		s.Flags |= ipvs.OnePacket
	case 6:
		s.ID = q.maybeBad(s.ID)
	default:
		if len(s.Destinations) > 0 {
			s.Destinations[0] = q.spoilDestination(s.Destinations[0])
			break
		}
		s.Persistence.Engine = "sip"
	}
	return s
}

func (q *questions) spoilDestination(d ipvs.Destination) ipvs.Destination {
	switch q.IntN(10) {
	case 0:
		d.Weight = -1
	case 1:
		d.Upper, d.Lower = 1, 2
	case 2:
		d.Forward = ipvs.ForwardBypass
	case 3:
		d.Tunnel.Port = 1
	case 4:
		d.Tunnel = ipvs.Tunnel{Type: ipvs.GUE}
	case 5:
		d.Addr = netip.AddrPort{}
	case 6:
		d.Addr = netip.AddrPortFrom(d.Addr.Addr(), 1)
	case 7:
		d.Addr = netip.MustParseAddrPort("[fe80::1]:80")
	case 8:
		d.Addr = netip.MustParseAddrPort("[fd00::1%eth0]:80")
	case 9:
		d.Upper = 1 << 31
	}
	return d
}
