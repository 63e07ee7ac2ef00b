package tabletest

import (
	"io/fs"
	"testing"

	"github.com/lvskit/lvskit/ipvs"
)

// webDestination is the object of errors about a destination of web.
const webDestination = "TCP 192.0.2.1:80 -> 10.0.0.3:8080"

var destinationTests = []test{
	{"destinations are listed from the newest to the oldest", func(f *fixture) {
		s := web()
		f.add(s)
		for _, d := range []ipvs.Destination{masq("10.0.0.9:80", 0), masq("10.0.0.3:80", 5), masq("10.0.0.3:81", 1)} {
			f.must(f.AddDestination(f.ctx, s.ID, d))
			s.Destinations = append(s.Destinations, d)
			f.has(s)
		}
		first := s.Destinations[0]
		f.must(f.RemoveDestination(f.ctx, s.ID, first.Addr))
		s.Destinations = s.Destinations[1:]
		f.has(s)
		f.must(f.AddDestination(f.ctx, s.ID, first))
		s.Destinations = append(s.Destinations, first)
		f.has(s)
	}},
	{"a destination that is there is not added again", func(f *fixture) {
		f.add(web())
		d := masq("10.0.0.1:8080", 77)
		f.refused(f.AddDestination(f.ctx, web().ID, d), fs.ErrExist, "add destination", "TCP 192.0.2.1:80 -> 10.0.0.1:8080")
		f.has(web())
	}},
	{"an update replaces all but the address and the place", func(f *fixture) {
		s := web()
		s.Destinations = append(s.Destinations, masq("10.0.0.3:8080", 3))
		f.add(s)
		for _, d := range []ipvs.Destination{
			{Weight: 9, Upper: 10, Lower: 5}, {Weight: 0, Upper: 10}, {Weight: 9}, {},
		} {
			d.Addr, d.Forward = s.Destinations[1].Addr, ipvs.ForwardMasq
			f.must(f.UpdateDestination(f.ctx, s.ID, d))
			s.Destinations[1] = d
			f.has(s)
		}
	}},
	{"a destination that is not there is not updated or removed", func(f *fixture) {
		f.add(web())
		f.add(web6())
		d := masq("10.0.0.3:8080", 1)
		f.refused(f.UpdateDestination(f.ctx, web().ID, d), fs.ErrNotExist, "update destination", webDestination)
		f.refused(f.RemoveDestination(f.ctx, web().ID, d.Addr), fs.ErrNotExist, "remove destination", webDestination)
		other := web6().Destinations[0].Addr
		f.refused(f.RemoveDestination(f.ctx, web().ID, other), fs.ErrNotExist, "remove destination", "TCP 192.0.2.1:80 -> [fd00::1]:8080")
		f.must(f.AddDestination(f.ctx, web().ID, d))
		f.must(f.RemoveDestination(f.ctx, web().ID, d.Addr))
		f.refused(f.RemoveDestination(f.ctx, web().ID, d.Addr), fs.ErrNotExist, "remove destination", webDestination)
		f.has(web(), web6())
	}},
	{"destinations need their service", func(f *fixture) {
		id, d := web().ID, masq("10.0.0.3:8080", 1)
		f.refused(f.AddDestination(f.ctx, id, d), fs.ErrNotExist, "add destination", webDestination)
		f.refused(f.UpdateDestination(f.ctx, id, d), fs.ErrNotExist, "update destination", webDestination)
		f.refused(f.RemoveDestination(f.ctx, id, d.Addr), fs.ErrNotExist, "remove destination", webDestination)
		f.has()
	}},
	{"an invalid destination is refused", func(f *fixture) {
		f.add(web())
		for name, d := range badDestinations {
			object := "TCP 192.0.2.1:80 -> " + d.Addr.String()
			f.T.Run(name, func(t *testing.T) {
				refused(t, f.AddDestination(f.ctx, web().ID, d), fs.ErrInvalid, "add destination", object)
				d.Addr = web().Destinations[0].Addr
				if d.Forward == ipvs.ForwardMasq && d.Weight == 1 || name == "no address" {
					return // it was the address that was wrong
				}
				refused(t, f.UpdateDestination(f.ctx, web().ID, d), fs.ErrInvalid, "update destination", "TCP 192.0.2.1:80 -> 10.0.0.1:8080")
			})
		}
		err := f.RemoveDestination(f.ctx, web().ID, ipvs.Destination{}.Addr)
		f.refused(err, fs.ErrInvalid, "remove destination", "TCP 192.0.2.1:80 -> invalid AddrPort")
		f.refused(f.AddDestination(f.ctx, web6().ID, masq("[fe80::1]:80", 1)), fs.ErrInvalid,
			"add destination", "TCP [2001:db8::1]:80 -> [fe80::1]:80") // link-local
		f.has(web())
	}},
	{"weights and thresholds up to their bounds", func(f *fixture) {
		s := ipvs.Service{ID: web().ID, Scheduler: ipvs.WLC}
		for _, d := range []ipvs.Destination{
			{Weight: 0, Upper: 1},
			{Weight: 1, Upper: 1, Lower: 1},
			{Weight: 65535, Upper: 65536},
			{Weight: 65536, Upper: 65536, Lower: 65535},
			{Weight: maxWeight, Upper: maxThreshold, Lower: maxThreshold},
			{Weight: maxWeight - 1, Upper: maxThreshold},
		} {
			d.Addr, d.Forward = masq("10.0.0.1:8000", 0).Addr, ipvs.ForwardMasq
			s.Destinations = []ipvs.Destination{d}
			f.add(s)
			f.has(s)
			f.must(f.RemoveService(f.ctx, s.ID))
		}
	}},
	{"an address is a destination of many services", func(f *fixture) {
		list := []ipvs.Service{web(), web(), web()}
		list[1].ID, list[2].ID = tcp("192.0.2.2:80"), tcp("192.0.2.1:81")
		for _, s := range list {
			f.add(s)
		}
		d := list[1].Destinations[0]
		d.Weight = 7
		f.must(f.UpdateDestination(f.ctx, list[1].ID, d))
		list[1].Destinations[0] = d
		f.must(f.RemoveDestination(f.ctx, list[2].ID, d.Addr))
		list[2].Destinations = list[2].Destinations[1:]
		f.has(list...)
	}},
	{"a service with many destinations", func(f *fixture) {
		s := web()
		s.Destinations = nil
		for i := range 300 {
			d := masq("10.1.0.1:80", i)
			a := d.Addr.Addr().As4()
			a[2], a[3] = byte(i/100), byte(i%100)
			d.Addr = addrPort(a, 80)
			s.Destinations = append(s.Destinations, d)
		}
		f.add(s)
		f.has(s)
	}},
}

var kernelDestinationTests = []test{
	{"ways of forwarding", func(f *fixture) {
		s := ipvs.Service{ID: web().ID, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{
			{Addr: addr("10.0.0.1:80"), Weight: 1, Upper: 3},
			{Addr: addr("10.0.0.2:80"), Forward: ipvs.ForwardTunnel},
			{Addr: addr("10.0.0.3:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GUE, Port: 6080}},
			{Addr: addr("10.0.0.4:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GUE, Port: 65535, Flags: ipvs.TunnelCsum}},
			{Addr: addr("10.0.0.5:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GUE, Port: 1, Flags: ipvs.TunnelRemCsum}},
			{Addr: addr("10.0.0.6:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GRE}},
			{Addr: addr("10.0.0.7:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.Tunnel{Type: ipvs.GRE, Flags: ipvs.TunnelCsum}},
			{Addr: addr("127.0.0.1:80"), Forward: ipvs.ForwardLocal, Weight: 1},
			{Addr: addr("10.0.0.8:8080"), Forward: ipvs.ForwardMasq, Weight: 1},
		}}
		f.add(s)
		f.has(s)
		for i := range s.Destinations { // each becomes what the next one was
			d := s.Destinations[(i+1)%(len(s.Destinations)-1)]
			d.Addr = s.Destinations[i].Addr
			if d.Addr.Port() == 8080 {
				continue
			}
			f.must(f.UpdateDestination(f.ctx, s.ID, d))
			s.Destinations[i] = d
			f.has(s)
		}
	}},
	{"tunnels to the other family", func(f *fixture) {
		v4, v6 := web(), web6()
		v4.Destinations = append(v4.Destinations, ipvs.Destination{Addr: addr("[fd00::1]:80"), Forward: ipvs.ForwardTunnel, Weight: 1})
		v6.Destinations = append(v6.Destinations, ipvs.Destination{Addr: addr("10.0.0.1:80"), Forward: ipvs.ForwardTunnel, Weight: 1})
		f.add(v4)
		f.add(v6)
		f.has(v4, v6)
		d := ipvs.Destination{Addr: addr("[fd00::1]:80"), Weight: 1}
		for _, d.Forward = range []ipvs.Forward{ipvs.ForwardRoute, ipvs.ForwardMasq, ipvs.ForwardLocal} {
			f.refused(f.UpdateDestination(f.ctx, v4.ID, d), fs.ErrInvalid, "update destination", "TCP 192.0.2.1:80 -> [fd00::1]:80")
		}
		f.has(v4, v6)
		f.must(f.RemoveDestination(f.ctx, v4.ID, d.Addr))
		v4.Destinations = web().Destinations
		f.has(v4, v6)
	}},
	{"real servers with odd addresses", func(f *fixture) {
		s := web()
		s.Destinations = []ipvs.Destination{masq("127.0.0.5:1", 1), masq("240.0.0.1:1", 1), masq("0.0.0.5:1", 1), masq("169.254.1.1:1", 1), masq("192.0.2.1:80", 1)}
		v6 := web6()
		v6.Destinations = []ipvs.Destination{masq("[::1]:1", 1), masq("[fec0::1]:1", 1), masq("[64:ff9b::1]:1", 1), masq("[2001:db8::1]:80", 1)}
		f.add(s)
		f.add(v6)
		f.has(s, v6)
	}},
}
