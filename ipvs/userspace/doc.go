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
//   - packets of TCP are the pieces in which its data was moved.
//
// Half-closed connections, resets and refusals pass through in both directions.
// A restart of the program refuses nobody: see Config.Handover.
//
// # How it flows
//
// To be written.
package userspace
