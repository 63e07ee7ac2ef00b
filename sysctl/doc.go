// Package sysctl reads, sets and checks the kernel settings that load
// balancing on Linux depends on, and puts them back.
//
// A [Key] is a path below /proc/sys, built from its components, so that an
// interface named eth0.100 is no riddle. A [Setting] joins a key with what it
// should be ([Exactly], [OneOf], [AtLeast], [AtMost], [Text], [Reserved]) and
// with the reason. The settings of each role in a cluster are one function:
// [AnyDirector], [DirectorNAT], [DirectorDR], [DirectorTUN], [RealServerDR],
// [RealServerTUN], [Gateway], [VirtualMAC], [NoRPFilter], [StandbyProxy]. Roles are added up
// by append or [Merge].
//
// [Plan] is pure: from what the kernel has and what is wanted to the smallest
// list of changes, in the order that the kernel needs. [Client.Apply] reads,
// plans, writes and reads back; [Client.Restore] puts back what is still as it
// was set; [Client.Check] is the doctor, which judges what an interface
// really does, not what one file says: for most settings of an interface the
// kernel combines it with the one of "all" (see [Effective]).
// [Format] and [Parse] write and read the files of /etc/sysctl.d.
//
// What is changed lasts until the next boot or as long as the network
// namespace. A program that may be killed names a file in Config.Record:
// changes are noted there before they are made, so that the next run can put
// back what the killed one had set.
//
// The package does not load modules (net/ipv4/vs exists once ip_vs is loaded),
// and is no sysctl(8): it has no list of all settings and no defaults.
//
// # What it needs
//
// Reading needs nothing. Writing needs CAP_NET_ADMIN in the user namespace
// that owns the network namespace, and /proc/sys mounted read-write; where it
// is read-only, settings of single interfaces in net/ipv4/conf are set by
// netlink instead. Config.NetNS needs CAP_SYS_ADMIN. Systems other than Linux
// build, and answer errors.ErrUnsupported to whatever touches the kernel.
//
// # How it flows
//
//	roles.go        role -> []Setting (setting.go, key.go, want.go, ports.go)
//	limits.go       the ranges that the kernel does not check
//	plan.go         have + want -> []Change; merge.go: several roles, one list
//	effective.go    what "all" and the interface make together; check.go uses it
//	restore.go      changes + have -> the writes that take them back
//	client.go       Config, Client, errors; client_linux.go: Apply, Restore, Check
//	proc_linux.go   the files of /proc/sys, and why one cannot be read or written
//	record.go       what was changed, across a SIGKILL; record_linux.go its file
//	netconf_linux.go  single interfaces by netlink, where /proc/sys is read-only
//	sysctld.go      /etc/sysctl.d
package sysctl
