// Package ipvs configures IPVS, the load balancer inside the Linux kernel, which
// spreads the connections to a virtual address over real servers.
//
// A [Service] is a virtual address or a firewall mark with its real servers, each
// a [Destination]. A [Client] is the kernel's table of them, and
// [Client.Apply] makes that table what is wanted by the smallest change:
//
//	c, err := ipvs.Open(ipvs.Config{})
//	...
//	defer c.Close()
//	changes, err := c.Apply(ctx, []ipvs.Service{{
//		ID:        ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")},
//		Scheduler: ipvs.RR,
//		Destinations: []ipvs.Destination{
//			{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1},
//			{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 1},
//		},
//	}}, ipvs.Policy{Owns: ipvs.OwnAll})
//
// [Client.Plan] is the dry run, and [Plan] what both stand on: it compares two
// tables, and each [Change] prints as one types it for ipvsadm. [Parse] and [Format] read and write what
// `ipvsadm -S -n` writes. [Drain] takes a real server out when its connections
// have ended. [Table] is what a program should ask for that is to be tested
// without a kernel.
//
// # What it is not
//
// It does not watch real servers, hold the virtual address, or set up what must
// surround IPVS: addresses, ARP, forwarding, kernel settings. It runs no
// programs: ipvsadm is not needed, and the kernel loads its module by itself.
//
// # What it needs
//
// Reading and writing need CAP_NET_ADMIN in the initial user namespace: the
// kernel refuses root of another user namespace, and so of a rootless container.
// Network namespaces have a table each; Config.NetNS selects one. On systems
// other than Linux the package builds, its pure half (Plan, Parse, Format,
// Validate, Drain) works, and Open answers errors.ErrUnsupported.
//
// What came when, in the kernel:
//
//	4.1    64-bit statistics; older ones wrap at 2^32
//	4.3    sync daemon: message size, group, port and TTL
//	4.18   scheduler mh
//	5.2    GUE tunnels
//	5.3    GRE tunnels, tunnel checksums
//	6.1    the oldest that the tests run on; 6.12 is the other
//
// # Errors
//
// Every error is an [*OpError] that says what was being done to what, and what to
// do about it; Apply joins one for each change that was refused. Match reasons by errors.Is: fs.ErrNotExist, fs.ErrExist,
// fs.ErrInvalid, fs.ErrPermission, net.ErrClosed, errors.ErrUnsupported, and the
// Err variables of this package. What the kernel takes but does not do, such as
// direct routing to another port, is refused before it gets there: see
// [Service.Validate].
//
// # How it flows
//
// In reading order. A wanted state is a list of Service (service.go,
// destination.go, enum.go), checked by validate.go and brought to one form by
// normal.go. plan.go compares it with the table and lists Changes (change.go),
// as far as policy.go allows. Text goes out by rule.go (Format) and comes in by
// parse.go, option.go and rule_table.go (Parse). drain.go stands on any Table
// (table.go).
//
// In the kernel's half apply_linux.go reads (dump_linux.go), plans, and executes
// (batch_linux.go); service_linux.go has what changes one thing. All go by way
// of client_linux.go, which holds the sockets (conn_linux.go) in one network
// namespace (namespace_linux.go); error_linux.go explains. Attributes are
// written and read by wire.go, wire_encode.go and wire_decode.go, as the types of
// status.go. daemon.go and connection.go are the sync daemons and the connection
// table, totals.go is what all services have counted. Metrics are in ipvsprom.
package ipvs
