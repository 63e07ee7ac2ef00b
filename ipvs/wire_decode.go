package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"
)

// detail says how much a reader wants to know.
type detail bool

const (
	withoutStats detail = false
	withStats    detail = true
)

// maxName is the longest name of a scheduler or an engine
// (IP_VS_SCHEDNAME_MAXLEN, IP_VS_PENAME_MAXLEN, less the zero byte).
const maxName = 15

var (
	errNoAttribute = errors.New("the message lacks what it is about")
	errLongName    = errors.New("a name is longer than the kernel's longest")
)

// schedulers saves an allocation for each service of a known scheduler.
var schedulers = [...]Scheduler{RR, WRR, LC, WLC, FO, OVF, LBLC, LBLCR, DH, SH, MH, SED, NQ, TWOS, NoScheduler}

func appendU32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// nested is the first attribute of a type.
func nested(b []byte, typ uint16) ([]byte, error) {
	a := attrs{rest: b}
	for a.next() {
		if a.typ == typ {
			return a.b, nil
		}
	}
	if a.err == nil {
		a.err = errNoAttribute
	}
	return nil, a.err
}

// decodeService reads the attributes of an answer that carries a service into s,
// which must be zero. The result is in normal form, without destinations.
func decodeService(b []byte, s *ServiceStatus, d detail) error {
	b, err := nested(b, attrService)
	if err != nil {
		return err
	}
	var (
		af, protocol, port uint16
		addr, netmask      []byte
		timeout            uint32
		stats64            bool
	)
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case attrSvcAF:
			af = a.u16()
		case attrSvcProtocol:
			protocol = a.u16()
		case attrSvcAddr:
			addr = a.b
		case attrSvcPort:
			port = a.be16()
		case attrSvcFWMark:
			s.ID.FWMark = a.u32()
		case attrSvcSched:
			s.Scheduler = a.scheduler()
		case attrSvcFlags:
			s.Flags = Flags(a.u32()) &^ flagHashed
		case attrSvcTimeout:
			timeout = a.u32()
		case attrSvcNetmask:
			netmask = a.b
		case attrSvcEngine:
			s.Persistence.Engine = a.name()
		case attrSvcStats, attrSvcStats64:
			stats64 = a.stats(&s.Stats, a.typ == attrSvcStats64, stats64, d)
		}
	}
	if a.err != nil {
		return a.err
	}
	if err := decodeID(&s.ID, af, protocol, addr, port); err != nil {
		return err
	}
	return decodePersistence(&s.Service, timeout, netmask)
}

// decodeID completes a service's name.
func decodeID(id *ServiceID, af, protocol uint16, addr []byte, port uint16) error {
	if id.FWMark != 0 && (af == afINET || af == afINET6) {
		if af == afINET6 {
			id.Family = IPv6
		}
		return nil
	}
	a, err := decodeAddr(addr, af)
	if err != nil {
		return err
	}
	if protocol > 255 {
		return fmt.Errorf("unknown protocol %d", protocol)
	}
	id.Protocol, id.Addr = Protocol(protocol), netip.AddrPortFrom(a, port)
	return nil
}

// decodePersistence turns a flag, a timeout and a mask into one thing. A
// service that is persistent for no time, which only other programs set, keeps
// the flag: so it differs from every service that is wanted.
func decodePersistence(s *Service, timeout uint32, netmask []byte) error {
	if s.Flags&flagPersistent == 0 || timeout == 0 {
		return nil
	}
	s.Flags &^= flagPersistent
	s.Persistence.Timeout = time.Duration(timeout) * time.Second
	a := attrs{b: netmask}
	if s.ID.AddressFamily() == IPv6 {
		if n := a.u32(); n < 128 {
			s.Persistence.Mask = int(n)
		}
		return a.err
	}
	switch n := bits.LeadingZeros32(^a.be32()); n {
	case 0:
		s.Persistence.Mask = MaskAll
	case 32:
	default:
		s.Persistence.Mask = n
	}
	return a.err
}

func (a *attrs) scheduler() Scheduler {
	text := a.text()
	for _, s := range schedulers {
		if string(s) == string(text) {
			return s
		}
	}
	return Scheduler(a.name())
}

// decodeDest reads the attributes of an answer that carries a destination into
// d, which must be zero. Kernels before 3.18 do not tell its address family,
// which is then that of the service.
func decodeDest(b []byte, d *DestinationStatus, family Family, dt detail) error {
	b, err := nested(b, attrDest)
	if err != nil {
		return err
	}
	var (
		af      = kernelFamily(family)
		addr    []byte
		port    uint16
		stats64 bool
	)
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case attrDestAddr:
			addr = a.b
		case attrDestPort:
			port = a.be16()
		case attrDestAF:
			af = a.u16()
		case attrDestForward:
			d.Forward = a.forward()
		case attrDestWeight:
			d.Weight = int(int32(a.u32()))
		case attrDestUpper:
			d.Upper = a.u32()
		case attrDestLower:
			d.Lower = a.u32()
		case attrDestActive:
			d.Active = int(a.u32())
		case attrDestInactive:
			d.Inactive = int(a.u32())
		case attrDestPersistent:
			d.Persistent = int(a.u32())
		case attrDestTunType:
			d.Tunnel.Type = TunnelType(a.u8())
		case attrDestTunPort:
			d.Tunnel.Port = a.be16()
		case attrDestTunFlags:
			d.Tunnel.Flags = TunnelFlags(a.u16())
		case attrDestStats, attrDestStats64:
			stats64 = a.stats(&d.Stats, a.typ == attrDestStats64, stats64, dt)
		}
	}
	if a.err != nil {
		return a.err
	}
	ip, err := decodeAddr(addr, af)
	d.Addr = netip.AddrPortFrom(ip, port)
	return err
}

func (a *attrs) forward() Forward {
	n := a.u32() & 7 // IP_VS_CONN_F_FWD_MASK
	for f, k := range forwards {
		if k == n {
			return Forward(f)
		}
	}
	a.err = fmt.Errorf("unknown forwarding method %d", n)
	return 0
}

// stats reads statistics, where they are wanted, and prefers those of 64 bits
// wherever they stand.
func (a *attrs) stats(s *Stats, is64, have64 bool, d detail) bool {
	if d == withStats && (is64 || !have64) {
		if err := decodeStats(a.b, s, is64); err != nil {
			a.err = err
		}
	}
	return have64 || is64
}

// decodeStats reads statistics: all numbers have 64 bits, or (before 4.1) only
// those that count bytes.
func decodeStats(b []byte, s *Stats, is64 bool) error {
	fields := [...]*uint64{
		1: &s.Connections, &s.InPackets, &s.OutPackets, &s.InBytes, &s.OutBytes,
		&s.ConnectionRate, &s.InPacketRate, &s.OutPacketRate, &s.InByteRate, &s.OutByteRate,
	}
	a := attrs{rest: b}
	for a.next() {
		switch {
		case a.typ == 0 || int(a.typ) >= len(fields):
		case is64 || a.typ == 4 || a.typ == 5:
			*fields[a.typ] = a.u64()
		default:
			*fields[a.typ] = uint64(a.u32())
		}
	}
	return a.err
}

// decodeTimeouts reads the answer to cmdGetConfig.
func decodeTimeouts(b []byte) (t Timeouts, err error) {
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case attrTimeoutTCP:
			t.TCP = time.Duration(a.u32()) * time.Second
		case attrTimeoutTCPFin:
			t.TCPFin = time.Duration(a.u32()) * time.Second
		case attrTimeoutUDP:
			t.UDP = time.Duration(a.u32()) * time.Second
		}
	}
	return t, a.err
}

// decodeInfo reads the answer to cmdGetInfo.
func decodeInfo(b []byte) (i Info, err error) {
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case attrInfoVersion:
			n := a.u32()
			i.Version = Version{Major: uint8(n >> 16), Minor: uint8(n >> 8), Patch: uint8(n)}
		case attrInfoConnTabSize:
			i.ConnectionTableSize = int(a.u32())
		}
	}
	return i, a.err
}
