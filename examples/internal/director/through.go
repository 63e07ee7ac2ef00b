package director

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
	"github.com/lvskit/lvskit/vip"
)

// A probe of a real server at its own address says nothing of the way that the
// clients' packets take to it: the tunnel, the virtual address on its lo. One
// "through_vip" takes that way. It goes to the virtual address, with a firewall
// mark, and the table has a service for this mark with this one real server.
//
// Whether the director holds the virtual address or not, IPVS takes the packets
// where they leave (NF_INET_LOCAL_OUT). The answers come from the virtual address:
// where it is our own, the kernel takes them only with accept_local, for IPv4.

// firstMark is the first of the marks: "LVS" and a number.
const firstMark = 'L'<<24 | 'V'<<16 | 'S'<<8

// marks are the firewall marks of the real servers that are probed through their
// virtual address. Each keeps its own for as long as it is in the configuration.
type marks map[drainKey]uint32

// keep forgets all but these, and gives the new ones a mark.
func (m marks) keep(keys []drainKey) {
	used := map[uint32]bool{}
	for key, mark := range m {
		if slices.Contains(keys, key) {
			used[mark] = true
		} else {
			delete(m, key)
		}
	}
	next := uint32(firstMark)
	for _, key := range keys {
		if m[key] != 0 {
			continue
		}
		for used[next] {
			next++
		}
		m[key], used[next] = next, true
	}
}

// throughVIP are the real servers that are probed so.
func (c config) throughVIP() (keys []drainKey) {
	for _, s := range c.services {
		for _, real := range s.Destinations {
			if s.check != nil && s.check.ThroughVIP {
				keys = append(keys, drainKey{s.ID, real.Addr})
			}
		}
	}
	return keys
}

// ways are the services of the marks.
func (d *director) ways(cfg config) (services []ipvs.Service) {
	for _, s := range cfg.services {
		for _, real := range s.Destinations {
			mark := d.marks[drainKey{s.ID, real.Addr}]
			if mark == 0 {
				continue
			}
			real.Addr = netip.AddrPortFrom(real.Addr.Addr(), 0) // whatever port is asked
			real.Weight = 1
			services = append(services, ipvs.Service{
				ID:           ipvs.ServiceID{FWMark: mark, Family: s.ID.AddressFamily()},
				Scheduler:    ipvs.RR,
				Flags:        ipvs.OnePacket, // a UDP probe is no connection that the next one could meet
				Destinations: []ipvs.Destination{real},
			})
		}
	}
	return services
}

// target is what the check of a real server probes, and how.
func (d *director) target(cfg config, s service, real netip.AddrPort, have vip.Snapshot) (t target, err error) {
	mark := d.marks[drainKey{s.ID, real}]
	if mark == 0 {
		return target{to: real, pinger: d.pinger}, nil
	}
	from := health.Source{Mark: mark, Addr: s.check.Source}
	if !from.Addr.IsValid() {
		from.Addr = ownAddress(cfg, have, real.Addr())
	}
	if !from.Addr.IsValid() {
		err = fmt.Errorf("through_vip: this machine has no address to probe %s from: give check.source", real)
	}
	return target{to: s.ID.Addr, from: from}, err
}

// ownAddress is this machine's own address that a real server answers to: without
// it the kernel would take the virtual address, which the real server has too.
func ownAddress(cfg config, have vip.Snapshot, real netip.Addr) (own netip.Addr) {
	for _, a := range have.Addresses {
		virtual := a.Ours || slices.ContainsFunc(cfg.addresses, func(v vip.Address) bool { return v.Addr == a.Addr })
		if virtual || !slices.Contains(cfg.interfaces, a.Interface) || a.Addr.Is4() != real.Is4() || a.Addr.IsLinkLocalUnicast() {
			continue
		}
		if a.Prefix().Masked().Contains(real) {
			return a.Addr
		}
		if !own.IsValid() {
			own = a.Addr
		}
	}
	return own
}

// throughSettings are what probes through the virtual address ask of the kernel.
func (c config) throughSettings() (s []sysctl.Setting) {
	keys := c.throughVIP()
	if len(keys) > 0 {
		s = append(s, sysctl.Setting{
			Key: sysctl.IPVS("conn_reuse_mode"), Want: sysctl.AtLeast(1),
			Reason: "a probe from a port that was used before goes to its own real server, not to that of the last connection",
		})
	}
	if !slices.ContainsFunc(keys, func(k drainKey) bool { return k.service.AddressFamily() == ipvs.IPv4 }) {
		return s // IPv6 takes packets from its own addresses
	}
	for i, name := range c.interfaces {
		s = append(s, sysctl.Setting{
			Key: sysctl.IPv4Conf(name, "accept_local"), Want: sysctl.Exactly(1),
			Reason: "real servers answer probes from the virtual address, which may be this machine's own",
		})
		if i > 0 {
			s = append(s, sysctl.Setting{
				Key: sysctl.IPv4Conf(name, "rp_filter"), Want: sysctl.OneOf(2, 0),
				Reason: "and which is on another interface than the one by which they answer",
			})
		}
	}
	return s
}
