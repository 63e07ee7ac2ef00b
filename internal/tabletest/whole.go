package tabletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

var wholeTests = []test{
	{"an empty table", func(f *fixture) {
		f.has()
		f.unconnected()
		f.must(f.Flush(f.ctx))
		f.must(f.ZeroAll(f.ctx))
		f.changes(f.apply(everything))
	}},
	{"a table without connections lists none", func(f *fixture) {
		f.add(web())
		f.unconnected()
	}},
	{"Flush", func(f *fixture) {
		for range 2 {
			f.add(web())
			f.add(web6())
			f.must(f.Flush(f.ctx))
			f.has()
		}
	}},
	{"Zero", func(f *fixture) {
		f.add(web())
		f.add(web6())
		f.must(f.Zero(f.ctx, web().ID))
		f.must(f.ZeroAll(f.ctx))
		f.has(web(), web6())
	}},
	{"timeouts", func(f *fixture) {
		set := ipvs.Timeouts{TCP: 20 * time.Minute, TCPFin: time.Minute, UDP: time.Second}
		f.must(f.SetTimeouts(f.ctx, set))
		f.timeouts(set)
		for _, change := range []ipvs.Timeouts{{TCP: time.Second}, {TCPFin: maxIdle}, {UDP: maxIdle}, {}} {
			f.must(f.SetTimeouts(f.ctx, change))
			for _, v := range [][2]*time.Duration{{&set.TCP, &change.TCP}, {&set.TCPFin, &change.TCPFin}, {&set.UDP, &change.UDP}} {
				if *v[1] != 0 {
					*v[0] = *v[1]
				}
			}
			f.timeouts(set)
		}
		for _, bad := range []time.Duration{-time.Second, -1, 1, 1500 * time.Millisecond, maxIdle + time.Second} {
			f.refused(f.SetTimeouts(f.ctx, ipvs.Timeouts{TCP: time.Hour, UDP: bad}), fs.ErrInvalid, "set timeouts", "")
			f.refused(f.SetTimeouts(f.ctx, ipvs.Timeouts{TCPFin: bad}), fs.ErrInvalid, "set timeouts", "")
		}
		f.timeouts(set)
	}},
	{"Drain removes a destination", func(f *fixture) {
		f.add(web())
		d := web().Destinations[0].Addr
		done, err := ipvs.Drain(f.ctx, f.Table, web().ID, d, ipvs.DrainConfig{Interval: time.Millisecond})
		if err != nil || done != (ipvs.Drained{Removed: true}) {
			f.Errorf("%+v, %v", done, err)
		}
		s := web()
		s.Destinations = s.Destinations[1:]
		f.has(s)
		_, err = ipvs.Drain(f.ctx, f.Table, web().ID, d, ipvs.DrainConfig{})
		f.refused(err, fs.ErrNotExist, "drain", "TCP 192.0.2.1:80 -> 10.0.0.1:8080")
	}},
	{"a context that has ended", func(f *fixture) {
		f.add(web())
		ended, cancel := context.WithCancel(f.ctx)
		cancel()
		late, cancel := context.WithDeadline(f.ctx, time.Now().Add(-time.Second))
		defer cancel()
		f.fails(ended, context.Canceled)
		f.fails(late, context.DeadlineExceeded)
		f.has(web())
		f.refused(f.AddService(ended, badServices["OnePacket of TCP"]), fs.ErrInvalid, "validate", "TCP 192.0.2.9:80")
	}},
	{"a table that was closed", func(f *fixture) {
		c, ok := f.Table.(io.Closer)
		if !ok {
			f.Skip("the table has no Close")
		}
		f.add(web())
		f.must(c.Close())
		f.must(c.Close())
		f.fails(f.ctx, net.ErrClosed)
	}},
	{"many that want different things of one service", func(f *fixture) {
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				s := web()
				s.Destinations = []ipvs.Destination{masq(fmt.Sprintf("10.0.0.%d:80", i+1), 1)}
				for range 10 {
					if _, err := f.Apply(f.ctx, []ipvs.Service{s}, everything); err != nil {
						f.Error(err)
					}
				}
			})
		}
		all.Wait()
		if st, err := f.Service(f.ctx, web().ID); err != nil || len(st.Destinations) != 1 {
			f.Errorf("%+v, %v", st, err)
		}
	}},
	{"many at once", func(f *fixture) {
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() { f.client(byte(i + 1)) })
		}
		all.Wait()
		f.has()
	}},
}

// unconnected wants no connections.
func (f *fixture) unconnected() {
	f.Helper()
	for c, err := range f.Connections(f.ctx) {
		f.Errorf("%+v, %v", c, err)
	}
}

func (f *fixture) timeouts(want ipvs.Timeouts) {
	f.Helper()
	got, err := f.Timeouts(f.ctx)
	f.must(err)
	if got != want {
		f.Errorf("timeouts %+v, want %+v", got, want)
	}
}

// fails wants all operations to fail in one way, on a table with web.
func (f *fixture) fails(ctx context.Context, kind error) {
	f.Helper()
	other, d := web(), masq("10.0.0.3:8080", 1)
	other.ID = tcp("192.0.2.2:80")
	const service, destination = "TCP 192.0.2.1:80", "TCP 192.0.2.1:80 -> 10.0.0.3:8080"
	_, err := f.Services(ctx)
	f.refused(err, kind, "read services", "")
	_, err = f.Service(ctx, web().ID)
	f.refused(err, kind, "read service", service)
	_, err = f.Plan(ctx, nil, everything)
	f.refused(err, kind, "plan", "")
	made, err := f.Apply(ctx, nil, everything)
	f.refused(err, kind, "apply", "")
	f.changes(made)
	f.refused(f.AddService(ctx, other), kind, "add service", "TCP 192.0.2.2:80")
	f.refused(f.UpdateService(ctx, web()), kind, "update service", service)
	f.refused(f.RemoveService(ctx, web().ID), kind, "remove service", service)
	f.refused(f.AddDestination(ctx, web().ID, d), kind, "add destination", destination)
	f.refused(f.UpdateDestination(ctx, web().ID, d), kind, "update destination", destination)
	f.refused(f.RemoveDestination(ctx, web().ID, d.Addr), kind, "remove destination", destination)
	f.refused(f.Zero(ctx, web().ID), kind, "zero", service)
	f.refused(f.ZeroAll(ctx), kind, "zero all", "")
	f.refused(f.Flush(ctx), kind, "flush", "")
	_, err = f.Timeouts(ctx)
	f.refused(err, kind, "read timeouts", "")
	f.refused(f.SetTimeouts(ctx, ipvs.Timeouts{UDP: time.Hour}), kind, "set timeouts", "")
	n := 0
	for _, err := range f.Connections(ctx) {
		f.refused(err, kind, "read connections", "")
		n++
	}
	if n != 1 && ctx == f.ctx {
		f.Errorf("Connections has %d errors, want one", n)
	}
}

// client makes, changes and removes a service of its own.
func (f *fixture) client(n byte) {
	s := web()
	s.ID.Addr = addrPort([4]byte{192, 0, 2, n}, 80)
	for i := range 10 {
		s.Destinations[0].Weight = i
		_, err := f.Apply(f.ctx, []ipvs.Service{s}, ipvs.Policy{})
		d := masq("10.0.0.9:80", i)
		err2 := f.AddDestination(f.ctx, s.ID, d)
		_, err3 := f.Services(f.ctx)
		st, err4 := f.Service(f.ctx, s.ID)
		for range f.Connections(f.ctx) {
		}
		if err := errors.Join(err, err2, err3, err4); err != nil || len(st.Destinations) != 3 || st.Destinations[2].Weight != i {
			f.Errorf("%v: %+v, %v", s.ID, st, err)
			return
		}
		if i%2 == 1 {
			if err := f.RemoveService(f.ctx, s.ID); err != nil {
				f.Error(fmt.Errorf("turn %d: %w", i, err))
			}
		}
	}
}
