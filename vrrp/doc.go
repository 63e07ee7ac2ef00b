// Package vrrp elects which of several machines holds a virtual address: the
// Virtual Router Redundancy Protocol, version 3 (RFC 9568, RFC 5798) for IPv4 and
// IPv6 and version 2 (RFC 3768), beside keepalived, FRR or others of its kind.
//
// A [Router] is one machine's part in one election. [New] checks its [Config],
// [Router.Run] takes part until its context ends; [Run] does so for hundreds of
// Routers on one thread. A [Binder], such as *vip.Manager, puts the addresses in
// place while the Router is Active. [Router.Track] ties the priority to what the
// machine depends on, [Router.Update] changes the configuration without losing
// the state, [Router.Status] tells what it is and has seen, and Config.OnEvent
// what happens, in order. A [Group] keeps several Routers together. Beyond the
// RFC it knows what keepalived does: Fault, weighted trackers, NoPreempt with a
// delay, unicast [Config].Peers, authentication ([Auth]).
//
// # What it is not
//
// No addresses, announcements or routes: those are the Binder's. No health
// checks: they call [Tracker.Up] and [Tracker.Down]. No configuration files. It
// elects on one link; it is no consensus, and no lock. Whether the Active router
// takes packets for the addresses (Accept_Mode, RFC 9568, section 6.1) is a matter
// of who holds them: package vip takes them unless its State says NoAccept.
//
// # Two masters
//
// VRRP has no quorum: routers that do not hear each other are all Active. What can
// be done is to see it, to make it rarer, and to end it well:
//   - [TwoActive] tells of another Active router, with its address and priority,
//     and [Healed] of the end; the one that stays Active announces the addresses
//     again then. [NoPeerHeard] tells that nobody was ever heard: protocol 112 is
//     filtered, or multicast does not pass. [ForeignCluster] and [PeerDiffers] tell of
//     an equal VRID and of unequal configurations.
//   - Config.SecondPath is another way on which the Active router is heard: a
//     Backup takes over when both are silent.
//   - Config.Witness is asked before a Backup takes over, and may refuse: whether
//     the gateway answers, whether a lease can be had.
//   - A Router that could not advertise for so long that the others must think it
//     dead gives way by itself ([ReasonStarved]): its time is CLOCK_BOOTTIME, so that
//     a suspended machine knows when it wakes up. What has come in is always heard
//     before a timer fires.
//   - At the start the Binder releases what a killed predecessor has left.
//
// # Times
//
// A Backup takes over DownCount intervals and a skew of up to one interval after
// the last advertisement: 3.6 s with the defaults, 361 ms at an Interval of 100
// ms. One thread of its own, that sleeps in the kernel, does nothing but the
// protocol; Binder, Witness, OnEvent and Logger have goroutines of their own. Yet it is
// a thread of a Go program, and waits as all others do when the garbage
// collector stops the program or the processors are taken: inside a busy daemon
// choose 100 ms or slower, and for 10 to 50 ms run the Router in a small process
// of its own, on a busy machine with real-time scheduling (chrt --rr 10, or
// CPUSchedulingPolicy=rr in its unit). [Stats].LateTimers and Latest tell how it
// fares, [LateTimer] warns.
//
// # What it needs
//
// Linux, and CAP_NET_RAW in the network namespace; with Config.NetNS also
// CAP_SYS_ADMIN to enter it. With CAP_NET_ADMIN the sockets have larger buffers.
// A firewall must let IP protocol 112 (AH: 51) in and out, and 224.0.0.18 or
// ff02::12. IPv6 needs a link-local address on the interface. Other systems answer
// errors.ErrUnsupported, while [ParsePacket] works everywhere.
//
// VirtualMAC sends frames from the virtual router's MAC, and receives as usual; the
// Binder should then hold the addresses on a macvlan device with this MAC, in
// bridge mode, that exists only while they are held.
//
// # How it flows
//
// config.go and config_normal.go are what is wanted, router.go, track.go, update.go
// and status.go what a program calls. run.go starts a loop: loop.go takes packets
// (loop_packet.go), then what others want of it (mailbox.go, loop_link.go,
// loop_bind.go, loop_ask.go), then timers (schedule.go), for all its Routers
// (instance.go). A packet is decoded by wire.go (packet.go, checksum.go, auth.go,
// hmac.go), looked at by observe.go and stepped through machine.go
// (machine_backup.go, machine_active.go, machine_become.go, group.go,
// timers.go, priority.go), which is pure. bind.go calls the Binder, notify.go the
// callbacks. The system is behind edge.go: edge_linux.go waits, socket_linux.go
// (filter.go), receive_linux.go and send_linux.go (frame.go) are the packets,
// watch_linux.go, links_linux.go and source.go the interfaces.
package vrrp
