package sysctl

import "strconv"

// Director is what the settings of a director depend on.
type Director struct {
	// Interfaces carry the traffic of clients and real servers. "default" may
	// be among them, for those to come.
	Interfaces []string

	// IPv4 and IPv6 are the families of the services; neither means IPv4.
	// A machine that forwards IPv6 no longer takes its default route from
	// router advertisements, unless accept_ra is 2 on the interface: add that
	// setting if yours does.
	IPv4, IPv6 bool

	// Conntrack: connections of the services also meet rules of SNAT or of a
	// stateful firewall. It costs speed.
	Conntrack bool

	// RealServer: the machine is also a real server of the same services, as
	// director and backup of each other are in a small cluster.
	RealServer bool
}

// AnyDirector is for a director of any kind, once ip_vs is loaded. The sizes
// of the neighbour tables are the machine's: a network namespace does not have
// them, and goes without.
func AnyDirector() []Setting {
	s := []Setting{
		{Key: IPVS("expire_nodest_conn"), Want: Exactly(1), Reason: "a connection to a removed real server ends at once, instead of vanishing in silence"},
		{Key: IPVS("expire_quiescent_template"), Want: Exactly(1), Reason: "persistence does not send new connections to a real server of weight 0"},
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		// The largest first, so that the three are in order at any moment.
		for _, t := range []struct {
			name string
			size int64
		}{{"gc_thresh3", 16384}, {"gc_thresh2", 8192}, {"gc_thresh1", 4096}} {
			s = append(s, Setting{
				Key: NewKey("net", family, "neigh", "default", t.name), Want: AtLeast(t.size), Optional: true,
				Reason: "the neighbour table holds all clients and real servers of a large segment",
			})
		}
	}
	return s
}

// DirectorNAT is for a director whose real servers answer through it
// (ipvsadm -m). Add [AnyDirector].
func DirectorNAT(d Director) []Setting {
	s := forwarding(d.IPv4, d.IPv6, d.Interfaces, "requests and answers pass through the director")
	s = append(s, noRedirects(d.Interfaces, "real servers must not learn a way around the director that translates for them")...)
	for _, i := range d.Interfaces {
		s = append(s, Setting{
			Key: IPv4Conf(i, "rp_filter"), Want: OneOf(2, 0),
			Reason: "a strict filter drops what comes by another way than the route back to its source",
		})
	}
	if d.Conntrack {
		s = append(s, Setting{
			Key: IPVS("conntrack"), Want: Exactly(1),
			Reason: "SNAT and stateful firewall rules see the connections of IPVS",
		})
	}
	return append(s, backupOnly(d)...)
}

// DirectorDR is for a director whose real servers answer to the client
// directly (ipvsadm -g). Add [AnyDirector].
func DirectorDR(d Director) []Setting {
	return directorOneWay(d, "clients must not learn the way to one real server")
}

// DirectorTUN is for a director that reaches its real servers through tunnels
// (ipvsadm -i). Add [AnyDirector].
func DirectorTUN(d Director) []Setting {
	return directorOneWay(d, "clients must not learn a way around the tunnel")
}

func directorOneWay(d Director, redirects string) []Setting {
	s := noRedirects(d.Interfaces, redirects)
	for _, i := range d.Interfaces {
		s = append(s, Setting{
			Key: IPv4Conf(i, "rp_filter"), Want: AtMost(2),
			Reason: "the kernel takes any number, and documents none above 2",
		})
	}
	return append(s, backupOnly(d)...)
}

// RealServerDR is for a real server that holds the virtual address on a
// device that does not announce it, such as lo. The interfaces are those by
// which requests come in; on lo these settings have no effect. "all" will do.
func RealServerDR(ingress ...string) []Setting {
	var s []Setting
	for _, i := range ingress {
		s = append(s,
			Setting{
				Key: IPv4Conf(i, "arp_ignore"), Want: OneOf(1, 2),
				Reason: "ARP requests for the virtual address are left to the director",
			},
			Setting{
				Key: IPv4Conf(i, "arp_announce"), Want: Exactly(2),
				Reason: "own ARP requests never carry the virtual address as their source",
			})
	}
	return s
}

// RealServerTUN is for a real server that gets its packets by a tunnel device,
// such as tunl0, which holds the virtual address. If another device holds it,
// a loose filter drops the packets all the same: add [NoRPFilter] for the
// tunnel then.
func RealServerTUN(tunnel string, ingress ...string) []Setting {
	return append(RealServerDR(ingress...), Setting{
		Key: IPv4Conf(tunnel, "rp_filter"), Want: OneOf(2, 0),
		Reason: "clients are not reached by the tunnel that their packets come by",
	})
}

// Router is what the settings of a gateway depend on.
type Router struct {
	Interfaces []string // those it forwards between
	IPv4, IPv6 bool     // families to forward; neither means IPv4

	// ConntrackMax is the number of connections to track at once; 0 leaves it.
	// Only the machine's first network namespace can set it.
	ConntrackMax int64

	// NATPorts are the ports that NAT gives to connections of others; the
	// machine then takes its own from the rest.
	NATPorts []PortRange
}

// Gateway is for a machine that translates addresses between networks.
func Gateway(r Router) []Setting {
	s := forwarding(r.IPv4, r.IPv6, r.Interfaces, "a gateway forwards")
	if r.ConntrackMax != 0 {
		s = append(s, Setting{
			Key: NewKey("net", "netfilter", "nf_conntrack_max"), Want: AtLeast(r.ConntrackMax),
			Reason: "a full table drops new connections",
		})
	}
	if len(r.NATPorts) > 0 {
		s = append(s, Setting{
			Key: IPv4("ip_local_reserved_ports"), Want: Reserved(r.NATPorts...),
			Reason: "local programs take no port that NAT may give away",
		})
	}
	return s
}

// MACVLAN is an interface with a virtual MAC address and the one below it.
type MACVLAN struct{ Name, Parent string }

// VirtualMAC is for interfaces that hold a virtual router's MAC address. All
// those of the namespace belong into one call. have is the present rp_filter
// of all interfaces, from [Client.ReadInterfaces]; see [NoRPFilter].
func VirtualMAC(have Values, links ...MACVLAN) []Setting {
	var s []Setting
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
		s = append(s,
			Setting{Key: IPv4Conf(l.Name, "arp_ignore"), Want: OneOf(1, 2), Reason: "only the virtual address answers with the virtual MAC address"},
			Setting{Key: IPv4Conf(l.Name, "accept_local"), Want: Exactly(1), Reason: "packets between the interface and its parent have a local source"},
			Setting{Key: IPv4Conf(l.Name, "promote_secondaries"), Want: Exactly(1), Reason: "one address less does not take the others along"},
			Setting{Key: IPv4Conf(l.Parent, "arp_ignore"), Want: OneOf(1, 2), Reason: "the parent does not answer for the virtual address with its own MAC address"},
			Setting{Key: IPv4Conf(l.Parent, "arp_filter"), Want: Exactly(1), Reason: "the parent answers only for what is routed by it"})
	}
	return append(s, NoRPFilter(have, names...)...)
}

// NoRPFilter turns the reverse path filter off on these interfaces. As the
// larger of "all" and the interface counts, "all" must be 0 for that: every
// other interface, and "default" for those to come, first gets the filter that
// it has in effect. have is the present rp_filter of all interfaces, from
// [Client.ReadInterfaces].
func NoRPFilter(have Values, ifaces ...string) []Setting {
	const name = "rp_filter"
	off := make(map[Key]bool)
	for _, i := range ifaces {
		off[IPv4Conf(i, name)] = true
	}
	all := IPv4Conf("all", name)
	common, _ := strconv.ParseInt(normal(have[all]), 10, 64)
	var s []Setting
	for _, k := range sortedKeys(have) {
		_, n, ok := k.conf("ipv4")
		own, err := strconv.ParseInt(normal(have[k]), 10, 64)
		if !ok || n != name || k == all || off[k] || err != nil {
			continue
		}
		// Above 2 is loose, too. Another role may still ask for a loose filter
		// where this one finds a strict one.
		keep := min(max(own, common, 0), 2)
		s = append(s, Setting{Key: k, Want: Between(keep, 2), Reason: "it keeps the filter that it has by way of all"})
	}
	s = append(s, Setting{Key: all, Want: Exactly(0), Reason: "the filter of single interfaces is off only if that of all is"})
	for _, i := range ifaces {
		s = append(s, Setting{Key: IPv4Conf(i, name), Want: Exactly(0), Reason: "what comes by this interface is answered by another"})
	}
	return s
}

// StandbyProxy is for a proxy that listens on the virtual address on the
// machine that does not hold it yet.
func StandbyProxy() []Setting {
	const why = "the standby binds the virtual address before it holds it"
	return []Setting{
		{Key: IPv4("ip_nonlocal_bind"), Want: Exactly(1), Reason: why},
		{Key: IPv6("ip_nonlocal_bind"), Want: Exactly(1), Reason: why, Optional: true},
	}
}

func forwarding(v4, v6 bool, ifaces []string, why string) []Setting {
	var s []Setting
	if v4 || !v6 {
		s = append(s, Setting{Key: IPv4("ip_forward"), Want: Exactly(1), Reason: why})
		for _, i := range ifaces {
			s = append(s, Setting{Key: IPv4Conf(i, "forwarding"), Want: Exactly(1), Reason: why})
		}
	}
	if v6 {
		s = append(s, Setting{Key: IPv6Conf("all", "forwarding"), Want: Exactly(1), Reason: why})
	}
	return s
}

// noRedirects has "all" too, because either of the two turns them on.
func noRedirects(ifaces []string, why string) []Setting {
	s := []Setting{{Key: IPv4Conf("all", "send_redirects"), Want: Exactly(0), Reason: why}}
	for _, i := range ifaces {
		s = append(s, Setting{Key: IPv4Conf(i, "send_redirects"), Want: Exactly(0), Reason: why})
	}
	return s
}

func backupOnly(d Director) []Setting {
	if !d.RealServer {
		return nil
	}
	return []Setting{{
		Key: IPVS("backup_only"), Want: Exactly(1),
		Reason: "a backup delivers to itself what the master sent it, instead of balancing it again for ever",
	}}
}
