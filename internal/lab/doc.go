// Package lab builds small networks inside one program: hosts, switches and
// cables between them, made of network namespaces, bridges and veth pairs. A
// test or a demonstration runs functions, servers and whole programs on its
// hosts and sees real packets between them; the machine's own network is
// neither used nor changed.
//
//	l, err := lab.New(lab.Config{})
//	defer l.Close()
//	lan, err := l.Switch("lan")
//	web, err := l.Host("web")
//	_, err = web.Connect(lan, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
//	ln, err := web.Listen("tcp", "10.0.0.1:80")
//
// A lab takes CAP_SYS_ADMIN and CAP_NET_ADMIN. Without them Enter puts the
// program into a user namespace where it has both.
//
// # What remains
//
// Nothing. Namespaces have no name and no file: they are held by descriptors
// of this process and end with it, however it ends. Programs started on a host
// are killed with the process (parent-death signal), and a watchdog on each host,
// a shell that waits for the end of this process, kills what they have left
// there, daemons in sessions of their own included.
//
// # What hosts share
//
// A host is a network, not a machine. File system, process ids, users and host
// name are those of the program. In particular /sys/class/net shows the
// program's own interfaces, not the host's: ask netlink (ip link) instead.
// /proc/net and /proc/sys/net are the host's own for a program started on it,
// and for a function in Do by way of /proc/thread-self/net.
//
// # What differs from a kernel's defaults
//
// Hosts use IPv6 addresses at once (no duplicate address detection), ignore
// and do not solicit router advertisements, and have forwarding, rp_filter,
// arp_ignore and arp_announce off whatever the machine has. Their interfaces
// finish checksums and segments themselves, so that captures show what a wire
// would carry. Switches speak no spanning tree, flood multicast without
// snooping, and have no address.
//
// # How it flows
//
// lab.go has the configuration and its checks. lab_linux.go makes and ends a
// lab; space_linux.go is a namespace with its threads and its netlink socket,
// which host_linux.go and link_linux.go use. process_linux.go forks programs
// from one thread that lives as long as the lab (the parent-death signal means
// the thread, not the process), watchdog_linux.go ends what they leave,
// task_linux.go runs functions. capture_linux.go and impair_linux.go look at
// and spoil a link, enter_linux.go re-executes a program in a user namespace.
// lab_other.go lets it all build, and nothing work, on other systems.
package lab
