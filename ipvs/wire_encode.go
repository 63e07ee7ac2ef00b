package ipvs

import "time"

// Attributes of a service (IPVS_SVC_ATTR_*).
const (
	attrSvcAF uint16 = iota + 1
	attrSvcProtocol
	attrSvcAddr
	attrSvcPort
	attrSvcFWMark
	attrSvcSched
	attrSvcFlags
	attrSvcTimeout
	attrSvcNetmask
	attrSvcStats
	attrSvcEngine
	attrSvcStats64
)

// Attributes of a destination (IPVS_DEST_ATTR_*).
const (
	attrDestAddr uint16 = iota + 1
	attrDestPort
	attrDestForward
	attrDestWeight
	attrDestUpper
	attrDestLower
	attrDestActive
	attrDestInactive
	attrDestPersistent
	attrDestStats
	attrDestAF
	attrDestStats64
	attrDestTunType
	attrDestTunPort
	attrDestTunFlags
)

// Flags of a service that are not in Flags, and a mask that sets them all.
const (
	flagPersistent Flags = 0x01
	flagHashed     Flags = 0x02
	flagsAll             = ^uint32(0)
)

// forwards are the kernel's numbers of the forwarding methods (IP_VS_CONN_F_*).
var forwards = [...]uint32{ForwardMasq: 0, ForwardLocal: 1, ForwardTunnel: 2, ForwardRoute: 3, ForwardBypass: 4}

// kernelFamily is the kernel's number of an address family.
func kernelFamily(f Family) uint16 {
	if f == IPv6 {
		return afINET6
	}
	return afINET
}

// serviceID appends the service attribute of commands that only name one.
func (e *encoder) serviceID(id ServiceID) {
	mark := e.nest(attrService)
	e.serviceName(id)
	e.endNest(mark)
}

// service appends the service attribute of commands that set everything: what
// it left out the kernel would reset.
func (e *encoder) service(s *Service) {
	mark := e.nest(attrService)
	e.serviceName(s.ID)
	scheduler := s.Scheduler
	if scheduler == "" {
		scheduler = WLC
	}
	flags := s.Flags
	if s.Persistence.Timeout > 0 {
		flags |= flagPersistent
	}
	e.str(attrSvcSched, string(scheduler))
	e.header(attrSvcFlags, 8)
	e.b = appendU32(e.b, uint32(flags), flagsAll)
	e.u32(attrSvcTimeout, uint32(s.Persistence.Timeout/time.Second))
	e.netmask(s.ID.AddressFamily(), s.Persistence.Mask)
	if s.Persistence.Engine != "" {
		e.str(attrSvcEngine, s.Persistence.Engine)
	}
	e.endNest(mark)
}

func (e *encoder) serviceName(id ServiceID) {
	e.u16(attrSvcAF, kernelFamily(id.AddressFamily()))
	if id.FWMark != 0 {
		e.u32(attrSvcFWMark, id.FWMark)
		return
	}
	e.u16(attrSvcProtocol, uint16(id.Protocol))
	e.addr(attrSvcAddr, id.Addr.Addr().Unmap())
	e.be16(attrSvcPort, id.Addr.Port())
}

// netmask is a mask in IPv4 and a prefix length in IPv6.
func (e *encoder) netmask(f Family, bits int) {
	switch {
	case f == IPv6 && bits == 0:
		e.u32(attrSvcNetmask, 128)
	case f == IPv6:
		e.u32(attrSvcNetmask, uint32(bits))
	case bits == MaskAll:
		e.be32(attrSvcNetmask, 0)
	case bits == 0:
		e.be32(attrSvcNetmask, ^uint32(0))
	default:
		e.be32(attrSvcNetmask, ^uint32(0)<<(32-bits))
	}
}

// destID appends the destination attribute of a command that only names one.
func (e *encoder) destID(d *Destination) {
	mark := e.nest(attrDest)
	e.destName(d)
	e.endNest(mark)
}

// dest appends the destination attribute of commands that set everything.
func (e *encoder) dest(d *Destination) {
	mark := e.nest(attrDest)
	e.destName(d)
	e.u32(attrDestForward, forwards[d.Forward])
	e.u32(attrDestWeight, uint32(d.Weight))
	e.u32(attrDestUpper, d.Upper)
	e.u32(attrDestLower, d.Lower)
	if d.Tunnel != (Tunnel{}) {
		e.u8(attrDestTunType, uint8(d.Tunnel.Type))
		e.be16(attrDestTunPort, d.Tunnel.Port)
		e.u16(attrDestTunFlags, uint16(d.Tunnel.Flags))
	}
	e.endNest(mark)
}

func (e *encoder) destName(d *Destination) {
	addr, family := d.Addr.Addr().Unmap(), IPv4
	if addr.Is6() {
		family = IPv6
	}
	e.addr(attrDestAddr, addr)
	e.be16(attrDestPort, d.Addr.Port())
	e.u16(attrDestAF, kernelFamily(family))
}

// change appends the whole message of a change.
func (e *encoder) change(family uint16, flags uint16, seq uint32, c *Change) (mark int, cmd command) {
	cmd = c.Op.command()
	mark = e.begin(family, cmd, flags, seq)
	switch c.Op {
	case AddService, UpdateService:
		e.service(&c.Service)
	default:
		e.serviceID(c.Service.ID)
	}
	switch c.Op {
	case AddDestination, UpdateDestination:
		e.dest(&c.Destination)
	case RemoveDestination:
		e.destID(&c.Destination)
	}
	e.end(mark)
	return mark, cmd
}

// command is the kernel's command for a change.
func (op ChangeOp) command() command {
	switch op {
	case AddService:
		return cmdNewService
	case UpdateService:
		return cmdSetService
	case RemoveService:
		return cmdDelService
	case AddDestination:
		return cmdNewDest
	case UpdateDestination:
		return cmdSetDest
	default:
		return cmdDelDest
	}
}

// timeouts appends those that are to be set.
func (e *encoder) timeouts(t Timeouts) {
	for _, a := range []struct {
		typ uint16
		d   time.Duration
	}{{attrTimeoutTCP, t.TCP}, {attrTimeoutTCPFin, t.TCPFin}, {attrTimeoutUDP, t.UDP}} {
		if a.d != 0 {
			e.u32(a.typ, uint32(a.d/time.Second))
		}
	}
}
