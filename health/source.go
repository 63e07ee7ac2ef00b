package health

import "net/netip"

// Source is where a network prober sends from. The zero Source leaves it to the
// kernel.
type Source struct {
	// Addr is the address to send from; the zero value leaves it to routing.
	Addr netip.Addr
	// Port is the port to send from; 0 is any. One port serves one probe at a time.
	Port uint16
	// Device is the interface to send through (SO_BINDTODEVICE).
	Device string
	// Mark is the firewall mark of what is sent (SO_MARK); it takes CAP_NET_ADMIN.
	// With an IPVS service of this mark, whose one destination is the real server,
	// a probe of the virtual address takes the way that clients' packets take.
	Mark uint32
	// NetNS is the path of the network namespace to send from; "" is the
	// caller's.
	NetNS string
}
