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
	var err error
	for t, v := range attrs(b, &err) {
		if t == typ {
			return v.b, nil
		}
	}
	if err == nil {
		err = errNoAttribute
	}
	return nil, err
}

// decodeService reads the attributes of an answer that carries a service. The
// result is in normal form, without destinations.
func decodeService(b []byte, d detail) (ServiceStatus, error) {
	var s ServiceStatus
	b, err := nested(b, attrService)
	if err != nil {
		return s, err
	}
	var (
		af, protocol uint16
		addr         value
		port         uint16
		netmask      value
		timeout      uint32
		stats64      bool
	)
	for typ, v := range attrs(b, &err) {
		switch typ {
		case attrSvcAF:
			af = v.u16()
		case attrSvcProtocol:
			protocol = v.u16()
		case attrSvcAddr:
			addr = v
		case attrSvcPort:
			port = v.be16()
		case attrSvcFWMark:
			s.ID.FWMark = v.u32()
		case attrSvcSched:
			s.Scheduler = decodeScheduler(v)
		case attrSvcFlags:
			s.Flags = Flags(v.u32()) &^ flagHashed
		case attrSvcTimeout:
			timeout = v.u32()
		case attrSvcNetmask:
			netmask = v
		case attrSvcEngine:
			s.Persistence.Engine = decodeName(v)
		case attrSvcStats, attrSvcStats64:
			stats64 = decodeStatsOnce(&s.Stats, v, typ == attrSvcStats64, stats64, d)
		}
	}
	if err != nil {
		return s, err
	}
	switch {
	case af != afINET && af != afINET6:
		return s, fmt.Errorf("a service of unknown address family %d", af)
	case s.ID.FWMark != 0:
		if af == afINET6 {
			s.ID.Family = IPv6
		}
	case addr.b == nil || protocol > 255:
		return s, errNoAttribute
	default:
		s.ID.Protocol = Protocol(protocol)
		s.ID.Addr = netip.AddrPortFrom(addr.addr(af), port)
	}
	decodePersistence(&s.Service, timeout, netmask)
	return s, err
}

// decodePersistence turns a flag, a timeout and a mask into one thing. A
// service that is persistent for no time, which only other programs set, keeps
// the flag: so it differs from every service that is wanted.
func decodePersistence(s *Service, timeout uint32, netmask value) {
	if s.Flags&flagPersistent == 0 || timeout == 0 {
		return
	}
	s.Flags &^= flagPersistent
	s.Persistence.Timeout = time.Duration(timeout) * time.Second
	switch {
	case netmask.b == nil:
	case s.ID.AddressFamily() == IPv6:
		if n := netmask.u32(); n < 128 {
			s.Persistence.Mask = int(n)
		}
	case netmask.has(4):
		switch n := bits.LeadingZeros32(^binary.BigEndian.Uint32(netmask.b)); n {
		case 0:
			s.Persistence.Mask = MaskAll
		case 32:
		default:
			s.Persistence.Mask = n
		}
	}
}

func decodeScheduler(v value) Scheduler {
	text := v.text()
	for _, s := range schedulers {
		if string(s) == string(text) {
			return s
		}
	}
	return Scheduler(decodeName(v))
}

func decodeName(v value) string {
	b := v.text()
	if len(b) > maxName {
		*v.err = errLongName
		return ""
	}
	return string(b)
}

// decodeDest reads the attributes of an answer that carries a destination.
// Kernels before 3.18 do not tell its address family, which is then that of
// the service.
func decodeDest(b []byte, family Family, dt detail) (DestinationStatus, error) {
	var d DestinationStatus
	b, err := nested(b, attrDest)
	if err != nil {
		return d, err
	}
	var (
		af      = kernelFamily(family)
		addr    value
		port    uint16
		stats64 bool
	)
	for typ, v := range attrs(b, &err) {
		switch typ {
		case attrDestAddr:
			addr = v
		case attrDestPort:
			port = v.be16()
		case attrDestAF:
			af = v.u16()
		case attrDestForward:
			d.Forward = decodeForward(v)
		case attrDestWeight:
			d.Weight = int(int32(v.u32()))
		case attrDestUpper:
			d.Upper = v.u32()
		case attrDestLower:
			d.Lower = v.u32()
		case attrDestActive:
			d.Active = int(v.u32())
		case attrDestInactive:
			d.Inactive = int(v.u32())
		case attrDestPersistent:
			d.Persistent = int(v.u32())
		case attrDestTunType:
			d.Tunnel.Type = TunnelType(v.u8())
		case attrDestTunPort:
			d.Tunnel.Port = v.be16()
		case attrDestTunFlags:
			d.Tunnel.Flags = TunnelFlags(v.u16())
		case attrDestStats, attrDestStats64:
			stats64 = decodeStatsOnce(&d.Stats, v, typ == attrDestStats64, stats64, dt)
		}
	}
	if err != nil {
		return d, err
	}
	if addr.b == nil {
		return d, errNoAttribute
	}
	d.Addr = netip.AddrPortFrom(addr.addr(af), port)
	return d, err
}

func decodeForward(v value) Forward {
	n := v.u32() & 7 // IP_VS_CONN_F_FWD_MASK
	for f, k := range forwards {
		if k == n {
			return Forward(f)
		}
	}
	*v.err = fmt.Errorf("unknown forwarding method %d", n)
	return 0
}

// decodeStatsOnce prefers the 64-bit statistics wherever they stand.
func decodeStatsOnce(s *Stats, v value, is64, have64 bool, d detail) bool {
	if d == withStats && (is64 || !have64) {
		decodeStats(s, v, is64)
	}
	return have64 || is64
}

// decodeStats reads statistics: all numbers have 64 bits, or (before 4.1) only
// those that count bytes.
func decodeStats(s *Stats, list value, is64 bool) {
	fields := [...]*uint64{
		1: &s.Connections, &s.InPackets, &s.OutPackets, &s.InBytes, &s.OutBytes,
		&s.ConnectionRate, &s.InPacketRate, &s.OutPacketRate, &s.InByteRate, &s.OutByteRate,
	}
	for typ, v := range attrs(list.b, list.err) {
		switch {
		case typ == 0 || int(typ) >= len(fields):
		case is64 || typ == 4 || typ == 5:
			*fields[typ] = v.u64()
		default:
			*fields[typ] = uint64(v.u32())
		}
	}
}

// decodeTimeouts reads the answer to cmdGetConfig.
func decodeTimeouts(b []byte) (t Timeouts, err error) {
	for typ, v := range attrs(b, &err) {
		switch typ {
		case attrTimeoutTCP:
			t.TCP = time.Duration(v.u32()) * time.Second
		case attrTimeoutTCPFin:
			t.TCPFin = time.Duration(v.u32()) * time.Second
		case attrTimeoutUDP:
			t.UDP = time.Duration(v.u32()) * time.Second
		}
	}
	return t, err
}

// decodeInfo reads the answer to cmdGetInfo.
func decodeInfo(b []byte) (i Info, err error) {
	for typ, v := range attrs(b, &err) {
		switch typ {
		case attrInfoVersion:
			n := v.u32()
			i.Version = Version{Major: uint8(n >> 16), Minor: uint8(n >> 8), Patch: uint8(n)}
		case attrInfoConnTabSize:
			i.ConnectionTableSize = int(v.u32())
		}
	}
	return i, err
}
