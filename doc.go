// Package lvskit is the map of a library for highly available load balancing
// on Linux. It holds no code: import the package whose job you need.
//
//	ipvs    virtual services in the kernel (IPVS): real servers, connection sync, statistics;
//	        ipvs/userspace is the same table without ip_vs, and the double for unit tests
//	vrrp    who holds the virtual address: VRRP v2 and v3 (RFC 9568), beside keepalived or FRR
//	vip     virtual addresses on interfaces, loopback and tunnel devices: put there, announced,
//	        watched; ARP suppression
//	health  which servers live: probes, thresholds, what results mean for a pool or a priority
//	nat     SNAT, masquerade, DNAT and redirect of a gateway, by nftables or iptables
//	sysctl  the kernel settings that each role in a cluster needs
//
// The packages do not import each other. A program composes them in its main;
// the programs in examples/ show how:
//
//	examples/director    the director of a cluster: settings, virtual address, virtual service
//	examples/realserver  a real server behind it, by direct routing or by tunnel
//	examples/vrrp        a virtual router: election, address, announcements
//	examples/ha-proxy-pair  two machines with nginx and one address, which follows the living nginx
//	examples/gateway     the firewall between an inside network and the world
//	examples/nodeport    a pair of balancers in front of the nodes of Kubernetes
//	examples/quickstart  a pair of directors and three web servers, under load, dying and coming
//	                     back; without any rights
//	examples/cluster     a whole cluster of director and real servers on one machine
//
// # How they compose
//
// A client's packet for the virtual address reaches the director, which holds
// the address (vip) and whose kernel picks a real server (ipvs). With NAT the
// director rewrites the packet and the answer comes back through it (sysctl:
// forwarding). With direct routing (DR) it passes the packet on untouched, and
// with a tunnel (TUN) it wraps it; the real server holds the same address
// without announcing it (vip), and answers the client itself.
//
// Two machines share a virtual address by electing who has it (vrrp): each runs
// a vrrp.Router, which makes its vip.Manager acquire and announce the address
// when it becomes Active, and release it when it does not stay so. vrrp knows vip
// only as an interface of three methods.
//
// Real servers are watched by a health.Monitor; what it finds goes through a
// health.Pool, which says who is served with what weight, into the state that ipvs is
// to apply. By health.Priority or a vrrp.Tracker it moves the address as well.
//
// All that writes to the kernel takes the wanted state, reads what the kernel
// has, and makes the smallest change: Plan says what that would be, Apply does
// it. What lvskit creates carries a mark; what lacks it is never touched. A
// program that was killed and runs again repairs what it left.
//
// # Kernels and capabilities
//
//	package  kernel                                  capabilities
//	ipvs     with ip_vs, a module in most            CAP_NET_ADMIN in the initial
//	         distributions                           user namespace
//	         any, for ipvs/userspace                 none for ports from 1024 on
//	vrrp     any                                     CAP_NET_RAW
//	vip      any; marks addresses in the kernel      CAP_NET_ADMIN
//	         since 5.18                              CAP_NET_RAW to announce
//	health   any                                     none; CAP_NET_ADMIN for firewall
//	                                                 marks, CAP_NET_RAW for ICMP where
//	                                                 ping sockets are not allowed
//	nat      with nf_tables, or iptables and its     CAP_NET_ADMIN
//	         programs
//	sysctl   any; net/ipv4/vs once ip_vs is loaded   CAP_NET_ADMIN, and /proc/sys
//	                                                 read-write for what is not of
//	                                                 one interface
//
// To enter another network namespace takes CAP_SYS_ADMIN. Tested are Debian's
// 6.1 and 6.12. Everything compiles on any system without cgo; what needs Linux
// answers errors.ErrUnsupported elsewhere.
package lvskit
