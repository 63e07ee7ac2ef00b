// Package vip puts virtual addresses on interfaces, loopback and tunnel
// devices of a Linux machine, keeps them there, tells the neighbours, and takes
// all back.
//
// A [State] says what is wanted: addresses, the tunnel devices of a real
// server, the devices with a virtual router's own MAC, and the interfaces on which
// ARP must not answer for a virtual address. [Plan] compares it with what the
// kernel has, [Manager.Apply] makes the difference, [Manager.Run] watches and puts back what others take away.
// [DirectRouting] and [Tunneling] write the State of a real server behind an
// LVS director; on a director one [Address] is enough.
//
// # Ownership
//
// An address made here carries a mark, [Config].Mark, in the kernel's own field
// for it (IFA_PROTO, Linux 5.18; "proto 86" in newer ip). What carries the mark
// and is not wanted is removed, also after SIGKILL. What lacks it is foreign: it
// is never taken over and never deleted, and wanting the same IP at the same
// interface is an error that matches [ErrForeign]. Two programs in one network
// namespace need two marks; [Manager.Open] refuses a mark that a living Manager
// has. Older kernels have no such field: there a note in [Config].RunDir, valid
// for one boot, namespace and interface index, and the label stand for it.
// Tunnel devices are marked by their alias, the table of nftables by its name. A kernel setting that was changed
// is noted with its original value in RunDir and gets it back, unless somebody
// else has changed it meanwhile.
//
// # Announcing
//
// [Manager.Announce] tells the neighbours, by gratuitous ARP and unsolicited
// neighbour advertisements, where what is held can be reached, and Run repeats it
// after 1.1, 2.2 and 5 s: a neighbour ignores what comes within a second of its
// last news, and frames get lost. A [Manager] has the three methods of a VRRP
// router's binder: Acquire, Release, Announce. So has a [Set], which is a part of
// what a Manager holds that comes, goes and is announced by itself: one for each
// of several routers.
//
// From the first announcement on, Run listens for other hosts that claim what it
// holds, and does as [Config].OnConflict says. Before an address that is held for
// ever, [Config].Probe asks whether it is free (RFC 5227). A takeover never asks.
// Two Actives of one virtual router with a [VirtualMAC] have the same MAC and are
// no conflict here: their election has to see that.
//
// # Choices
//
// An address is identified by its IP, because IPv4 would take the same one again
// with another prefix length. Without Bits it is a /32 or /128: a wider prefix
// would make the subnet local to the interface, or become its source address.
// IPv6 addresses come without duplicate address detection, which would keep them
// unusable for a second, and with preferred lifetime 0: valid for ever, and never
// chosen as the source of a connection.
//
// # What it is not
//
// No election of who holds an address, no address for the machine itself, no
// routes. Answers to ARP and neighbour discovery are the kernel's.
//
// # Addresses that take no packets
//
// What is held takes packets like any address. With [State].NoAccept, the
// Accept_Mode False of VRRP (RFC 9568 section 6.1), packets that would be delivered
// to an address of that State are dropped, while ARP, neighbour discovery and what
// is forwarded pass. That is one table of nftables for all Sets of a Manager, there
// only while needed. It touches no other table, and no other can overrule it:
//
//	table inet lvskit-vip-86 {
//		set v4 { type ipv4_addr; elements = { 10.0.0.1 }; }
//		set v6 { type ipv6_addr; }
//		chain input {
//			type filter hook input priority -500; policy accept;
//			ip daddr @v4 drop
//			ip6 daddr @v6 icmpv6 type 133-137 accept
//			ip6 daddr @v6 drop
//		}
//	}
//
// The owner of the addresses (priority 255) must accept. So must a director: IPVS
// takes packets at the same place (LOCAL_IN), after this filter. nftables gives Run
// no notice: a table that others remove ("nft flush ruleset") is back within half
// a minute.
//
// # What it needs
//
// CAP_NET_ADMIN in the network namespace, and CAP_NET_RAW to announce, to probe
// and to see conflicts (without it Run tells so in the log); with Config.NetNS
// also CAP_SYS_ADMIN to enter it. RunDir is written only for kernel settings, GUE
// ports and on kernels before 5.18. Interface settings go through netlink and so
// work where /proc/sys is mounted read-only; SuppressARP on "all" has no other way
// than /proc/sys, nor has the accept_ra of a VirtualMAC, which is then left as it
// is. TUN needs the modules ipip, sit, ip6_tunnel, ip_gre, ip6_gre or fou, a
// VirtualMAC macvlan. NoAccept needs nf_tables (CONFIG_NF_TABLES_INET), whose lack
// is an error only where it is wanted; a table that a killed program left is looked
// for once after Open, unless nf_tables can be seen not to be loaded. Other systems
// than Linux answer errors.ErrUnsupported, and Plan works everywhere.
//
// # Tunnels and packet size
//
// A tunnel makes packets larger by 20 bytes (IPIP in IPv4), 24 (GRE), 40 (in
// IPv6), 36 or more (GUE). Only the way from director to real server is
// tunnelled, so it is the client's packets that must shrink: clamp the MSS that
// the real server offers (a route with advmss, or nftables' "tcp option maxseg
// size set"), or give that way a larger MTU. A tunnel device decapsulates what
// anybody sends to it: let only the directors reach that protocol or port.
//
// How it flows: state.go, address.go, tunnel.go, virtualmac.go and setting.go are
// what is wanted; snapshot.go is what there is; plan.go (with change.go, and
// filter.go for nftables) compares them. notes.go is the codec of the run file. manager.go, set.go and claims.go say who
// holds what, hold.go applies it, run.go and watch.go put back. herald.go knows
// what is to be announced and when, announce_linux.go sends it (neighbor.go is the
// codec of IPv6). conflict.go judges the claims of others, conflict_linux.go hears
// them and asks before. kernel_linux.go reads and writes the kernel by
// batch_linux.go, addr_linux.go, link_linux.go, virtualmac_linux.go, conf_linux.go,
// filter_linux.go and file_linux.go, and settle_linux.go waits until an address takes packets.
package vip
