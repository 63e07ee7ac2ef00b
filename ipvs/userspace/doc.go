// Package userspace is IPVS without the kernel: a table of virtual services
// that forwards their connections itself.
//
// An Engine is an ipvs.Table, as the kernel's ipvs.Client is: the same services,
// real servers, schedulers, persistence, thresholds, statistics, errors. It is
// for machines without ip_vs or without the rights to it (containers, laptops,
// CI), and for the unit tests of programs that take an ipvs.Table:
//
//	e, err := userspace.Open(userspace.Config{})
//	...
//	defer e.Close()
//	go e.Run(ctx)
//	changes, err := e.Apply(ctx, []ipvs.Service{{
//		ID:        ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("127.0.0.1:8080")},
//		Scheduler: ipvs.RR,
//		Destinations: []ipvs.Destination{
//			{Addr: netip.MustParseAddrPort("127.0.0.1:8081"), Forward: ipvs.ForwardMasq, Weight: 1},
//			{Addr: netip.MustParseAddrPort("127.0.0.1:8082"), Forward: ipvs.ForwardMasq, Weight: 1},
//		},
//	}}, ipvs.Policy{})
//
// With Config.TableOnly it opens no socket and works on every system: the double
// of the kernel's table. One suite of tests runs against both, and both are asked
// the same random questions, so that the double is proved by the kernel.
//
// # What differs from the kernel
//
// It forwards by NAT only, and as a proxy does: it takes the client's connection,
// makes one of its own to the real server, and moves what comes. So
//   - real servers see an address of this machine, unless Config.Source says
//     otherwise;
//   - ForwardRoute and ForwardTunnel, services by firewall mark, of SCTP, or of
//     every port are refused: the errors match errors.ErrUnsupported. (A table
//     alone takes them.) The zero ipvs.Forward is ForwardRoute: set ForwardMasq;
//   - the virtual address need not be on this machine when the service is added,
//     but its port must be free there: AddService says if it is not;
//   - a connection ends with its real server's removal, as the kernel does with
//     vs.expire_nodest_conn=1; ipvs.Drain before avoids that;
//   - no connection is remembered after its end: what the kernel counts as
//     inactive for two minutes after a FIN is not there;
//   - packets of TCP are the pieces in which its data was moved;
//   - counters move at once, where the kernel's do every two seconds, and rates
//     take what came since they were read last as evenly spread;
//   - a removed real server whose connections go on keeps its counters until two
//     minutes after the last of them, the kernel's for two to three;
//   - clients with source port 20 are scheduled like all others, and the random
//     scheduler twos is not there.
//
// Half-closed connections, resets and refusals pass through in both directions.
// A restart of the program refuses nobody: see Config.Handover.
//
// # What it needs
//
// No rights and no module, but those that sockets need: a port below 1024 takes
// CAP_NET_BIND_SERVICE or the setting net.ipv4.ip_unprivileged_port_start, another
// network namespace CAP_SYS_ADMIN, SourceTransparent CAP_NET_ADMIN. Two
// descriptors a connection: raise RLIMIT_NOFILE. Each of Config.Workers threads
// keeps a processor while there is much to forward; the other goroutines of the
// program then wait for up to 5 ms, unless GOMAXPROCS is larger than Workers.
// UDP over SourceLocal has one local port a session.
//
// # How it flows
//
// The table: engine.go is what a program opens, table.go and apply.go change it
// as the kernel would (refuse.go says what is not forwarded), list.go, status.go
// and timeouts.go are how it looks, stats.go counts, threshold.go keeps a real
// server's connections within its thresholds, and trash.go remembers removed
// ones. A new connection comes to connection.go, which asks persist.go (for UDP of
// SIP by sip.go) or the scheduler (scheduler.go, sched_rr.go, sched_wrr.go,
// sched_least.go, sched_hash.go, sched_mh.go, sched_lblc.go, sched_lblcr.go, hash.go)
// for its real server. connect.go lets tests make one. All that is pure.
//
// The plane (plane.go, plane_linux.go) forwards. Each worker is a thread with an
// epoll (loop_linux.go; raw_linux.go has its system calls, idle_linux.go what is
// idle, limits_linux.go what there is room for). listen_linux.go opens the
// sockets of a service and takes what comes, upstream_linux.go goes on to the real
// server (proxy.go is the PROXY protocol), tcp_linux.go is a TCP connection,
// whose data copy_linux.go and splice_linux.go move. udp_linux.go reads the
// datagrams of a service, udp_session_linux.go those of one client, in batches
// (mmsg_linux.go, outbox_linux.go). handover.go is what a successor is told, and
// handover_linux.go how.
package userspace
