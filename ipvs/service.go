package ipvs

import (
	"fmt"
	"net/netip"
	"time"
)

// ServiceID names a virtual service: by protocol, address and port, or by a
// firewall mark. It is comparable and serves as a map key.
//
// A service by address has a Protocol and an Addr; port 0 stands for every
// port and needs persistence. A service by firewall mark has an FWMark (set by
// iptables or nftables on its packets) and, as no address tells it, a Family.
type ServiceID struct {
	Protocol Protocol       // TCP, UDP or SCTP; zero with a firewall mark
	Addr     netip.AddrPort // the virtual address; zero with a firewall mark
	FWMark   uint32         // zero: a service by address
	Family   Family         // of a firewall mark; zero (IPv4) for a service by address, whose Addr tells it
}

// AddressFamily is the family of the service's packets: that of Addr, or of a
// firewall mark Family.
func (id ServiceID) AddressFamily() Family {
	if id.FWMark == 0 && id.Addr.Addr().Is6() && !id.Addr.Addr().Is4In6() {
		return IPv6
	}
	return id.Family
}

// String is the service as ipvsadm lists it: "TCP 192.0.2.1:80", "FWM 7" or
// "FWM 7 IPv6".
func (id ServiceID) String() string {
	switch {
	case id.FWMark != 0 && id.Family == IPv6:
		return fmt.Sprintf("FWM %d IPv6", id.FWMark)
	case id.FWMark != 0:
		return fmt.Sprintf("FWM %d", id.FWMark)
	}
	return id.Protocol.String() + " " + id.Addr.String()
}

// Service is a virtual service and the real servers behind it, as wanted.
type Service struct {
	ID           ServiceID
	Scheduler    Scheduler // zero: WLC, the default of ipvsadm
	Flags        Flags
	Persistence  Persistence
	Destinations []Destination // in any order; the order does not matter
}

// Persistence sends the connections of one client to one real server. The zero
// value is off.
type Persistence struct {
	// Timeout is how long a client that has no connection is remembered, in
	// whole seconds from 1 s to 31 days (the bound of ipvsadm, whose own
	// default is 300 s). Zero turns persistence off.
	Timeout time.Duration

	// Mask is the length of the prefix within which clients count as one: 1 to
	// 32, or 1 to 128. Zero is a single address; MaskAll is every IPv4 client
	// at once. A mask with holes, which only IPv4 and only other programs can
	// set, reads as its leading ones.
	Mask int

	// Engine is the name of a persistence engine, "sip" being the kernel's
	// only one (UDP: by Call-ID). Empty: by client address.
	Engine string
}

// MaskAll is the Persistence.Mask that takes all IPv4 clients as one
// (0.0.0.0). The kernel has no such mask for IPv6.
const MaskAll = -1

// Flags are the switches of a virtual service. The kernel's flags
// "persistent" and "hashed" are not among them: the first follows from
// Persistence, the second is the kernel's own
// (include/uapi/linux/ip_vs.h, IP_VS_SVC_F_*).
type Flags uint32

const (
	// OnePacket schedules each UDP packet on its own (IP_VS_SVC_F_ONEPACKET).
	OnePacket Flags = 0x04
	// SchedFlag1 to SchedFlag3 mean what the scheduler makes of them.
	SchedFlag1 Flags = 0x08
	SchedFlag2 Flags = 0x10
	SchedFlag3 Flags = 0x20

	// SHFallback lets sh take another server when the hashed one is
	// unavailable (weight 0 or overloaded), SHPort hashes the client's port
	// too. MHFallback and MHPort are the same for mh.
	SHFallback = SchedFlag1
	SHPort     = SchedFlag2
	MHFallback = SchedFlag1
	MHPort     = SchedFlag2
)
