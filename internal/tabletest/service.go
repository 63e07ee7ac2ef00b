package tabletest

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

var serviceTests = []test{
	{"services are read back as they were added", func(f *fixture) {
		f.has()
		f.add(web())
		f.has(web())
		f.add(web6())
		f.add(dns())
		f.has(web(), web6(), dns())
	}},
	{"the protocol is part of the name", func(f *fixture) {
		f.add(ipvs.Service{ID: tcp("192.0.2.1:53"), Scheduler: ipvs.RR})
		f.add(dns())
		f.must(f.RemoveService(f.ctx, tcp("192.0.2.1:53")))
		f.has(dns())
	}},
	{"a service that is there is not added again", func(f *fixture) {
		f.add(web())
		again := web()
		again.Scheduler, again.Destinations = ipvs.WLC, nil
		f.refused(f.AddService(f.ctx, again), fs.ErrExist, "add service", "TCP 192.0.2.1:80")
		again.Scheduler = "no-such"
		f.refused(f.AddService(f.ctx, again), fs.ErrExist, "add service", "TCP 192.0.2.1:80")
		f.has(web())
	}},
	{"an invalid service is refused", func(f *fixture) {
		f.add(web())
		for name, s := range badServices {
			for what, err := range map[string]error{"add": f.AddService(f.ctx, s), "update": f.UpdateService(f.ctx, s)} {
				f.T.Run(what+" "+name, func(t *testing.T) {
					refused(t, err, fs.ErrInvalid, "validate", s.ID.String())
				})
			}
		}
		f.has(web())
	}},
	{"a service with an invalid destination is not added at all", func(f *fixture) {
		for name, d := range badDestinations {
			s := web()
			s.Destinations = append(s.Destinations, d)
			err := f.AddService(f.ctx, s)
			f.T.Run(name, func(t *testing.T) {
				refused(t, err, fs.ErrInvalid, "validate", s.ID.String()+" -> "+d.Addr.String())
			})
		}
		s := web()
		s.Destinations = append(s.Destinations, masq("[::ffff:10.0.0.1]:8080", 3))
		f.refused(f.AddService(f.ctx, s), fs.ErrInvalid, "validate", s.ID.String()+" -> [::ffff:10.0.0.1]:8080")
		f.has()
	}},
	{"a scheduler that is not there", func(f *fixture) {
		s := web()
		s.Scheduler = "no-such"
		err := f.AddService(f.ctx, s)
		f.refused(err, ipvs.ErrNoScheduler, "add service", "TCP 192.0.2.1:80")
		if !errors.Is(err, errors.ErrUnsupported) {
			f.Errorf("%v does not match errors.ErrUnsupported", err)
		}
		f.has()
		f.add(web())
		f.refused(f.UpdateService(f.ctx, s), ipvs.ErrNoScheduler, "update service", "TCP 192.0.2.1:80")
		f.has(web())
	}},
	{"a persistence engine that is not there", func(f *fixture) {
		s := dns()
		s.Persistence = ipvs.Persistence{Timeout: time.Minute, Engine: "no-such"}
		err := f.AddService(f.ctx, s)
		f.refused(err, ipvs.ErrNoEngine, "add service", "UDP 192.0.2.1:53")
		f.has()
		f.add(dns())
		f.refused(f.UpdateService(f.ctx, s), ipvs.ErrNoEngine, "update service", "UDP 192.0.2.1:53")
		f.has(dns())
	}},
	{"every scheduler", func(f *fixture) {
		s := web()
		for _, s.Scheduler = range append(schedulers, ipvs.NoScheduler) {
			f.add(s)
			f.has(s)
			f.must(f.RemoveService(f.ctx, s.ID))
		}
		f.add(s)
		for _, s.Scheduler = range append(schedulers, ipvs.NoScheduler, ipvs.MH) {
			f.must(f.UpdateService(f.ctx, s))
			f.has(s)
		}
	}},
	{"the zero scheduler is wlc", func(f *fixture) {
		s := web()
		s.Scheduler = ""
		f.add(s)
		f.has(s)
		got, err := f.Service(f.ctx, s.ID)
		f.must(err)
		if got.Scheduler != ipvs.WLC {
			f.Errorf("it is %q", got.Scheduler)
		}
	}},
	{"flags", func(f *fixture) {
		s := web()
		f.add(s)
		for _, s.Flags = range []ipvs.Flags{ipvs.SchedFlag1, ipvs.SchedFlag2, ipvs.SchedFlag3, ipvs.SchedFlag1 | ipvs.SchedFlag2 | ipvs.SchedFlag3, 0} {
			f.must(f.UpdateService(f.ctx, s))
			f.has(s)
		}
	}},
	{"an update replaces scheduler, flags and persistence, and keeps destinations", func(f *fixture) {
		f.add(web())
		s := web()
		s.Scheduler, s.Flags, s.Persistence = ipvs.SH, ipvs.SHFallback|ipvs.SHPort, ipvs.Persistence{Timeout: time.Hour, Mask: 24}
		s.Destinations = []ipvs.Destination{masq("10.0.0.9:99", -1)} // not looked at
		f.must(f.UpdateService(f.ctx, s))
		s.Destinations = web().Destinations
		f.has(s)
		s.Persistence.Mask = 0
		f.must(f.UpdateService(f.ctx, s))
		f.has(s)
		f.must(f.UpdateService(f.ctx, web()))
		f.has(web())
	}},
	{"a service that is not there is not updated", func(f *fixture) {
		f.refused(f.UpdateService(f.ctx, web()), fs.ErrNotExist, "update service", "TCP 192.0.2.1:80")
		s := web()
		s.Scheduler = "no-such"
		f.refused(f.UpdateService(f.ctx, s), fs.ErrNotExist, "update service", "TCP 192.0.2.1:80")
		f.has()
	}},
	{"a service that is not there is not read or removed", func(f *fixture) {
		f.add(web6())
		id := web().ID
		_, err := f.Service(f.ctx, id)
		f.refused(err, fs.ErrNotExist, "read service", "TCP 192.0.2.1:80")
		f.refused(f.RemoveService(f.ctx, id), fs.ErrNotExist, "remove service", "TCP 192.0.2.1:80")
		f.refused(f.Zero(f.ctx, id), fs.ErrNotExist, "zero", "TCP 192.0.2.1:80")
		f.add(web())
		f.must(f.RemoveService(f.ctx, id))
		f.refused(f.RemoveService(f.ctx, id), fs.ErrNotExist, "remove service", "TCP 192.0.2.1:80")
		f.has(web6())
	}},
	{"a service that was removed can be added again", func(f *fixture) {
		f.add(web())
		f.must(f.RemoveService(f.ctx, web().ID))
		f.has()
		f.add(web())
		f.has(web())
	}},
	{"persistence", func(f *fixture) {
		for _, s := range []ipvs.Service{web(), web6()} {
			f.add(s)
			masks := []int{0, 1, 24, 31, 32, ipvs.MaskAll}
			if s.ID.AddressFamily() == ipvs.IPv6 {
				masks = []int{0, 1, 24, 64, 127, 128}
			}
			for _, s.Persistence.Mask = range masks {
				for _, s.Persistence.Timeout = range []time.Duration{time.Second, 5 * time.Minute, maxTimeout} {
					f.must(f.UpdateService(f.ctx, s))
					f.has(s)
				}
			}
			f.must(f.RemoveService(f.ctx, s.ID))
		}
	}},
	{"one packet at a time", func(f *fixture) {
		s := dns()
		s.Flags = ipvs.OnePacket | ipvs.SchedFlag2
		f.add(s)
		f.has(s)
		f.must(f.UpdateService(f.ctx, dns()))
		f.has(dns())
	}},
	{"the persistence engine sip", func(f *fixture) {
		s := dns()
		s.Persistence = ipvs.Persistence{Timeout: time.Minute, Engine: "sip"}
		f.add(s)
		f.has(s)
		s.Persistence.Engine = ""
		f.must(f.UpdateService(f.ctx, s)) // what is not given is gone
		f.has(s)
		s.Persistence.Engine = "sip"
		f.must(f.UpdateService(f.ctx, s))
		f.has(s)
		s.Persistence = ipvs.Persistence{}
		f.must(f.UpdateService(f.ctx, s))
		f.has(s)
	}},
	{"IPv4 in IPv6 form is IPv4", func(f *fixture) {
		mapped := web()
		mapped.ID.Addr = addr("[::ffff:192.0.2.1]:80")
		mapped.Destinations[0].Addr = addr("[::ffff:10.0.0.1]:8080")
		f.add(mapped)
		f.has(web())
		f.refused(f.AddService(f.ctx, mapped), fs.ErrExist, "add service", "TCP 192.0.2.1:80")
		_, err := f.Service(f.ctx, mapped.ID)
		f.must(err)
		f.must(f.Zero(f.ctx, mapped.ID))
		mapped.Scheduler = ipvs.WRR
		f.must(f.UpdateService(f.ctx, mapped))
		d := masq("[::ffff:10.0.0.3]:1", 1)
		f.must(f.AddDestination(f.ctx, mapped.ID, d))
		plain := masq("10.0.0.3:1", 2)
		f.refused(f.AddDestination(f.ctx, web().ID, plain), fs.ErrExist, "add destination", "TCP 192.0.2.1:80 -> 10.0.0.3:1")
		d.Weight = 2
		f.must(f.UpdateDestination(f.ctx, mapped.ID, d))
		more := mapped
		more.Destinations = append(web().Destinations, plain)
		f.has(more)
		f.must(f.RemoveDestination(f.ctx, mapped.ID, d.Addr))
		f.has(mapped)
		f.must(f.RemoveService(f.ctx, mapped.ID))
		f.has()
		_, err = f.Service(f.ctx, mapped.ID)
		f.refused(err, fs.ErrNotExist, "read service", "TCP 192.0.2.1:80")
		f.refused(f.Zero(f.ctx, mapped.ID), fs.ErrNotExist, "zero", "TCP 192.0.2.1:80")
		f.refused(f.RemoveService(f.ctx, mapped.ID), fs.ErrNotExist, "remove service", "TCP 192.0.2.1:80")
	}},
	{"a name that is none is refused by every operation", func(f *fixture) {
		f.add(web())
		for name, id := range badIDs {
			object := id.String()
			errs := map[string]error{
				"remove service":     f.RemoveService(f.ctx, id),
				"add destination":    f.AddDestination(f.ctx, id, masq("10.0.0.3:80", 1)),
				"update destination": f.UpdateDestination(f.ctx, id, masq("10.0.0.3:80", 1)),
				"remove destination": f.RemoveDestination(f.ctx, id, addr("10.0.0.3:80")),
				"zero":               f.Zero(f.ctx, id),
				"validate":           f.UpdateService(f.ctx, ipvs.Service{ID: id}),
			}
			_, errs["read service"] = f.Service(f.ctx, id)
			for op, err := range errs {
				object := object
				f.T.Run(op+" of "+name, func(t *testing.T) {
					if strings.HasSuffix(op, "destination") {
						object += " -> 10.0.0.3:80"
					}
					refused(t, err, fs.ErrInvalid, op, object)
				})
			}
			f.refused(f.AddService(f.ctx, ipvs.Service{ID: id}), fs.ErrInvalid, "validate", object)
		}
		f.has(web())
	}},
}

var kernelServiceTests = []test{
	{"SCTP", func(f *fixture) {
		s := web()
		s.ID.Protocol = ipvs.SCTP
		f.add(s)
		f.add(web())
		f.has(s, web())
	}},
	{"firewall marks", func(f *fixture) {
		list := []ipvs.Service{
			{ID: ipvs.ServiceID{FWMark: 1}, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{route("10.0.0.1:0", 1), masq("10.0.0.1:80", 1)}},
			{ID: ipvs.ServiceID{FWMark: 1, Family: ipvs.IPv6}, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{route("[fd00::1]:0", 1)}},
			{ID: ipvs.ServiceID{FWMark: 1<<32 - 1}, Scheduler: ipvs.WLC, Flags: ipvs.OnePacket},
		}
		for _, s := range list {
			f.add(s)
		}
		f.has(list...)
		f.refused(f.AddService(f.ctx, list[0]), fs.ErrExist, "add service", "FWM 1")
		f.refused(f.AddService(f.ctx, list[1]), fs.ErrExist, "add service", "FWM 1 IPv6")
		f.must(f.RemoveService(f.ctx, list[0].ID))
		f.has(list[1:]...)
	}},
	{"port 0 is every port", func(f *fixture) {
		s := persistent("192.0.2.1:0", ipvs.Persistence{Timeout: time.Minute})
		s.Destinations = []ipvs.Destination{route("10.0.0.1:0", 1), masq("10.0.0.2:80", 1)}
		f.add(s)
		f.add(web())
		f.has(s, web())
		f.must(f.Zero(f.ctx, s.ID))
		d := route("10.0.0.3:0", 1)
		f.must(f.AddDestination(f.ctx, s.ID, d))
		d.Weight = 7
		f.must(f.UpdateDestination(f.ctx, s.ID, d))
		s.Destinations = append(s.Destinations, d)
		f.has(s, web())
		f.must(f.RemoveDestination(f.ctx, s.ID, d.Addr))
		f.must(f.RemoveService(f.ctx, s.ID))
		f.has(web())
	}},
}
