package ipvs

import (
	"math"
	"net/netip"
	"strings"
	"time"
)

// Bounds of the kernel (include/uapi/linux/ip_vs.h, net/netfilter/ipvs) and,
// for maxTimeout, of ipvsadm.
const (
	maxSchedulerName = 15 // IP_VS_SCHEDNAME_MAXLEN with its zero byte
	maxEngineName    = 16 // IP_VS_PENAME_MAXLEN, without one
	maxWeight        = math.MaxInt32
	maxThreshold     = math.MaxInt32 // Debian's 6.1 answers EINVAL above it, ipvsadm stops there too
	maxTimeout       = 31 * 24 * time.Hour
)

const allFlags = OnePacket | SchedFlag1 | SchedFlag2 | SchedFlag3

// Validate reports the first thing about a service or its destinations that
// the kernel refuses, or that it takes and then does not do: protocol 0, a real
// server of direct routing on another port, a port-zero service without
// persistence. The error is an *OpError and matches fs.ErrInvalid; its text says
// what to do.
//
// What depends on the machine is left to the kernel: whether it has the
// scheduler, whether an address is a broadcast address of one of its networks.
func (s Service) Validate() error {
	if err := s.validateHead(); err != nil {
		return &OpError{Op: "validate", Object: s.ID.String(), Err: err}
	}
	for _, d := range s.Destinations {
		if err := d.validate(s.ID); err != nil {
			return &OpError{Op: "validate", Object: destinationObject(s.ID, d.Addr), Err: err}
		}
	}
	if addr, ok := duplicate(s.Destinations); ok {
		return &OpError{Op: "validate", Object: destinationObject(s.ID, addr), Err: errDuplicateDestination}
	}
	return nil
}

const (
	errDuplicateService     = invalid("the service is there twice: name each protocol, address and port once")
	errDuplicateDestination = invalid("the service has this real server twice: name each address and port once")
)

// destinationObject is the OpError.Object of a destination.
func destinationObject(id ServiceID, addr netip.AddrPort) string {
	return id.String() + " -> " + addr.String()
}

// duplicate is the first destination address that occurs twice.
func duplicate(ds []Destination) (netip.AddrPort, bool) {
	if len(ds) < 2 {
		return netip.AddrPort{}, false
	}
	seen := make(map[netip.AddrPort]struct{}, len(ds))
	for _, d := range ds {
		addr := unmap(d.Addr)
		if _, ok := seen[addr]; ok {
			return d.Addr, true
		}
		seen[addr] = struct{}{}
	}
	return netip.AddrPort{}, false
}

// validateHead is Validate without the destinations.
func (s Service) validateHead() error {
	if err := s.ID.validate(); err != nil {
		return err
	}
	if err := validateName("scheduler", string(s.Scheduler), maxSchedulerName); err != nil {
		return err
	}
	if s.Flags&^allFlags != 0 {
		return invalidf("unknown flags %#x: the flags are OnePacket and SchedFlag1 to SchedFlag3, persistence is set by Persistence.Timeout", uint32(s.Flags&^allFlags))
	}
	if s.Flags&OnePacket != 0 && s.ID.FWMark == 0 && s.ID.Protocol != UDP {
		return invalidf("OnePacket is for UDP, this service is %s: drop the flag", s.ID.Protocol)
	}
	if s.ID.FWMark == 0 && s.ID.Addr.Port() == 0 && s.Persistence.Timeout == 0 {
		return invalid("port 0, which stands for every port, needs persistence: set Persistence.Timeout, or a port")
	}
	return s.Persistence.validate(s.ID)
}

// validate is Validate for the name of a service alone.
func (id ServiceID) validate() error {
	if id.Family > IPv6 {
		return invalidf("unknown family %d: use IPv4 or IPv6", id.Family)
	}
	if id.FWMark != 0 {
		if id.Protocol != 0 || id.Addr != (netip.AddrPort{}) {
			return invalid("a service has either a firewall mark or a protocol and an address: leave Protocol and Addr zero, or FWMark")
		}
		return nil
	}
	switch id.Protocol {
	case TCP, UDP, SCTP:
	case 0:
		return invalid("neither protocol nor firewall mark: set Protocol to TCP, UDP or SCTP, or set FWMark")
	default:
		return invalidf("protocol %d cannot be balanced: use TCP, UDP or SCTP, or a firewall mark", uint8(id.Protocol))
	}
	if id.Family != IPv4 {
		return invalid("Family is for a firewall mark: leave it zero, the address tells it")
	}
	return validateAddr("service", id.Addr.Addr())
}

// validate is Validate for the persistence of the service id.
func (p Persistence) validate(id ServiceID) error {
	if p.Timeout == 0 {
		if p.Mask != 0 {
			return invalid("Persistence.Mask without persistence: set Persistence.Timeout")
		}
		if p.Engine != "" {
			return invalidf("persistence engine %q without persistence: set Persistence.Timeout", p.Engine)
		}
		return nil
	}
	if p.Timeout < time.Second || p.Timeout > maxTimeout || p.Timeout%time.Second != 0 {
		return invalidf("persistence timeout %s: use whole seconds from 1 s to 31 days", p.Timeout)
	}
	switch v6 := id.AddressFamily() == IPv6; {
	case v6 && (p.Mask < 0 || p.Mask > 128):
		return invalidf("persistence mask %d of an IPv6 service: use 1 to 128, or 0 for a single address", p.Mask)
	case !v6 && (p.Mask < MaskAll || p.Mask > 32):
		return invalidf("persistence mask %d of an IPv4 service: use 1 to 32, 0 for a single address, or MaskAll", p.Mask)
	}
	if err := validateName("persistence engine", p.Engine, maxEngineName); err != nil {
		return err
	}
	if p.Engine == "sip" && id.FWMark == 0 && id.Protocol != UDP {
		return invalidf("persistence engine sip is for UDP, it drops every %s connection: use a UDP service", id.Protocol)
	}
	return nil
}

// validate is Validate for one destination of the service id.
func (d Destination) validate(id ServiceID) error {
	addr := d.Addr.Addr()
	if err := validateAddr("real server", addr); err != nil {
		return err
	}
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		return invalid("the kernel takes no link-local real server: use a global or unique local address")
	}
	if d.Forward >= ForwardBypass {
		return invalidf("forwarding %s cannot be configured: use ForwardRoute, ForwardMasq, ForwardTunnel or ForwardLocal", d.Forward)
	}
	v6 := addr.Is6() && !addr.Is4In6()
	if v6 != (id.AddressFamily() == IPv6) && d.Forward != ForwardTunnel {
		return invalidf("an %s service reaches this real server by ForwardTunnel only", id.AddressFamily())
	}
	if err := d.validatePort(id); err != nil {
		return err
	}
	if d.Weight < 0 || d.Weight > maxWeight {
		return invalidf("weight %d: use 0 to %d", d.Weight, maxWeight)
	}
	if d.Upper > maxThreshold {
		return invalidf("upper threshold %d: use 1 to %d, or 0 for no bound", d.Upper, maxThreshold)
	}
	if d.Lower > d.Upper {
		return invalidf("lower threshold %d is above upper threshold %d: lower it, or raise Upper", d.Lower, d.Upper)
	}
	return d.Tunnel.validate(d.Forward)
}

// validatePort wants a port that the way of forwarding can reach.
func (d Destination) validatePort(id ServiceID) error {
	if id.FWMark != 0 || id.Addr.Port() == 0 || d.Addr.Port() == id.Addr.Port() {
		return nil
	}
	if d.Forward != ForwardMasq {
		return invalidf("forwarding %s leaves the port as it is, %d: use that port, or ForwardMasq", d.Forward, id.Addr.Port())
	}
	if d.Addr.Port() == 0 {
		return invalidf("port 0: use the port that the real server listens on, such as the service's own, %d", id.Addr.Port())
	}
	return nil
}

// validate is Validate for the tunnel of a destination.
func (t Tunnel) validate(f Forward) error {
	if f != ForwardTunnel {
		if t != (Tunnel{}) {
			return invalid("tunnel settings without a tunnel: set Forward to ForwardTunnel, or leave Tunnel zero")
		}
		return nil
	}
	if t.Flags&^(TunnelCsum|TunnelRemCsum) != 0 {
		return invalidf("unknown tunnel flags %#x: the flags are TunnelCsum and TunnelRemCsum", uint16(t.Flags))
	}
	if t.Flags == TunnelCsum|TunnelRemCsum {
		return invalid("TunnelCsum and TunnelRemCsum exclude each other: set one")
	}
	switch t.Type {
	case IPIP, GRE:
		if t.Port != 0 {
			return invalidf("a tunnel of type %s has no port: leave Port zero, or use GUE", t.Type)
		}
		if t.Flags&TunnelRemCsum != 0 || t.Type == IPIP && t.Flags != 0 {
			return invalidf("a tunnel of type %s has no such checksum: IPIP has none, GRE has TunnelCsum, GUE has both", t.Type)
		}
	case GUE:
		if t.Port == 0 {
			return invalid("a tunnel of type gue needs a port: set Tunnel.Port to the UDP port that the real server decapsulates (6080 is the usual one)")
		}
	default:
		return invalidf("unknown tunnel type %d: use IPIP, GUE or GRE", uint8(t.Type))
	}
	return nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// validateAddr refuses what is nobody's address.
func validateAddr(what string, a netip.Addr) error {
	plain := a.Unmap()
	switch {
	case !a.IsValid():
		return invalidf("the %s has no address: set Addr", what)
	case a.Zone() != "":
		return invalidf("the %s address has zone %q, which the kernel cannot hold: use an address without one", what, a.Zone())
	case plain.IsUnspecified():
		if what == "service" {
			return invalid("the unspecified address matches no packet: use the virtual address, or a firewall mark for many addresses at once")
		}
		return invalid("the unspecified address is no real server: use its own address")
	case plain.IsMulticast() || plain == broadcast:
		return invalidf("the %s address is a multicast or broadcast address: use a unicast one", what)
	}
	return nil
}

// validateName wants the name of a kernel module's part: empty, or letters,
// digits, dash, dot and underscore.
func validateName(what, name string, length int) error {
	if len(name) > length {
		return invalidf("%s name %q is longer than %d bytes: use the kernel's name of it", what, name, length)
	}
	if strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) {
		return invalidf("%s name %q is no module's name: use letters, digits, dash, dot and underscore", what, name)
	}
	return nil
}
