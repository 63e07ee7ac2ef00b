package health

import (
	"net/netip"
	"strings"
)

// Source is where a network prober sends from. The zero Source leaves it to the
// kernel. Device, Mark and NetNS are for Linux; elsewhere they match
// errors.ErrUnsupported.
//
// A probe that cannot be sent from its Source, because the address or the device is
// not there, say, or the right to set a mark, is inconclusive: it tells nothing of the
// server.
type Source struct {
	// Addr is the address to send from; the zero value leaves it to routing. It is of
	// the family of the address that is probed. A link-local one may have a zone.
	Addr netip.Addr
	// Port is the port to send from; 0 is any. One port serves one probe at a time, and
	// a TCP connection from it is closed by a reset, lest the port be blocked for a
	// minute (TIME_WAIT).
	Port uint16
	// Device is the interface to send through, and to receive from (SO_BINDTODEVICE of
	// socket(7)), whatever the routes say of others. It takes CAP_NET_RAW before
	// Linux 5.7.
	Device string
	// Mark is the firewall mark of what is sent (SO_MARK); 0 is none. It takes
	// CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17. With an IPVS service of this mark,
	// whose one destination is the real server, a probe of the virtual address takes the
	// way that clients' packets take.
	Mark uint32
	// NetNS is the path of the network namespace to send from, such as
	// /run/netns/blue; "" is the caller's. It takes CAP_SYS_ADMIN, and a thread for
	// each probe.
	NetNS string
}

// deviceNameMax is the longest name of an interface (IFNAMSIZ of linux/if.h, less the
// final zero).
const deviceNameMax = 15

// Validate tells whether a prober can use s at all: the error matches fs.ErrInvalid,
// or errors.ErrUnsupported where this system lacks what s asks for. Whether address,
// device and rights are there is known when it is used.
func (s Source) Validate() error {
	if zone := s.Addr.Zone(); zone != "" && !s.Addr.IsLinkLocalUnicast() {
		return opError("validate", "source "+s.Addr.String(), invalid("only link-local addresses have a zone"))
	}
	if s.Addr.IsMulticast() {
		return opError("validate", "source "+s.Addr.String(), invalid("nothing is sent from a multicast address"))
	}
	if len(s.Device) > deviceNameMax || strings.ContainsAny(s.Device, "/\x00 ") || s.Device == "." || s.Device == ".." {
		return opError("validate", "source device "+s.Device, invalid("the name of an interface has 1 to %d bytes, without spaces and slashes", deviceNameMax))
	}
	if strings.ContainsRune(s.NetNS, 0) {
		return opError("validate", "source namespace", invalid("a path has no zero bytes"))
	}
	if err := s.supported(); err != nil {
		return opError("validate", "source", err)
	}
	return nil
}

// validate is Validate, and whether to can be reached from s. Every network prober
// calls it from its own Validate, and with port false if its protocol has none.
func (s Source) validate(to netip.Addr, port uint16, withPort bool) error {
	var problem error
	switch {
	case !to.IsValid():
		problem = invalid("Addr is not set")
	case to.IsUnspecified() || to.IsMulticast():
		problem = invalid("not the address of one server")
	case withPort && port == 0:
		problem = invalid("the port of Addr is 0")
	case to.Zone() != "" && !to.IsLinkLocalUnicast():
		problem = invalid("only link-local addresses have a zone")
	case s.Addr.IsValid() && s.Addr.Unmap().Is4() != to.Unmap().Is4():
		problem = invalid("the source %s is of the other family", s.Addr)
	case to.Unmap().Is6() && to.IsLinkLocalUnicast() && to.Zone() == "" && s.Addr.Zone() == "" && s.Device == "":
		problem = invalid("a link-local address needs a zone, such as %s%%eth0, or a device", to)
	default:
		return s.Validate()
	}
	return opError("validate", to.String(), problem)
}

// validateAddrPort is validate for the protocols with ports.
func (s Source) validateAddrPort(to netip.AddrPort) error {
	return s.validate(to.Addr(), to.Port(), true)
}
