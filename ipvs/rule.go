package ipvs

import (
	"bufio"
	"io"
	"math/bits"
	"net/netip"
	"strconv"
	"time"
)

// Format writes services as `ipvsadm -S -n` does, so that `ipvsadm -R` and Parse
// read them. Thresholds, which ipvsadm can read but never saves, are written as
// well. Services and destinations keep their order.
//
// Two things that the kernel has are beyond ipvsadm: it reads no weight above
// 65535, and it has no word for ForwardLocal, which is written as -g, direct
// routing, as ipvsadm does: to an address of the director itself both mean the
// same.
//
// A service that Validate refuses is an error; nothing is written then.
func Format(w io.Writer, services []Service) error {
	for _, s := range services {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	bw := bufio.NewWriter(w)
	var line []byte
	for _, s := range services {
		line = append(appendService(append(line[:0], "-A "...), s.normalHead()), '\n')
		bw.Write(line) // an error stays with bw until Flush
		for _, d := range s.Destinations {
			line = append(appendDestination(append(line[:0], "-a "...), s.ID.normal(), d.normal(), true), '\n')
			bw.Write(line)
		}
	}
	if err := bw.Flush(); err != nil {
		return &OpError{Op: "format", Object: "rules", Err: err}
	}
	return nil
}

// appendService appends a service in normal form with its options.
func appendService(b []byte, s Service) []byte {
	b = appendID(b, s.ID)
	b = append(append(b, " -s "...), s.Scheduler...)
	if p := s.Persistence; p.Timeout != 0 {
		b = strconv.AppendInt(append(b, " -p "...), int64(p.Timeout/time.Second), 10)
		switch {
		case p.Mask == 0:
		case s.ID.AddressFamily() == IPv6:
			b = strconv.AppendInt(append(b, " -M "...), int64(p.Mask), 10)
		default:
			b = appendMask(append(b, " -M "...), p.Mask)
		}
	}
	if s.Persistence.Engine != "" {
		b = append(append(b, " --pe "...), s.Persistence.Engine...)
	}
	if s.Flags&OnePacket != 0 {
		b = append(b, " -o"...)
	}
	return appendFlags(b, s.Scheduler, s.Flags)
}

// appendID appends the option that names a service.
func appendID(b []byte, id ServiceID) []byte {
	switch {
	case id.FWMark != 0:
		b = strconv.AppendUint(append(b, "-f "...), uint64(id.FWMark), 10)
		if id.Family == IPv6 {
			b = append(b, " -6"...)
		}
		return b
	case id.Protocol == UDP:
		b = append(b, "-u "...)
	case id.Protocol == SCTP:
		b = append(b, "--sctp-service "...)
	default:
		b = append(b, "-t "...)
	}
	return appendAddr(b, id.Addr)
}

// appendAddr appends 192.0.2.1:80 or [2001:db8::1]:80.
func appendAddr(b []byte, a netip.AddrPort) []byte { return a.AppendTo(b) }

// appendMask appends an IPv4 prefix length as a dotted mask.
func appendMask(b []byte, length int) []byte {
	m := ^uint32(0) << (32 - min(max(length, 0), 32)) // MaskAll is negative
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).AppendTo(b)
}

// maskLength is the reverse of appendMask; ok is false for a mask with holes.
func maskLength(a netip.Addr) (length int, ok bool) {
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	length = bits.LeadingZeros32(^m)
	if length < 32 && m<<length != 0 {
		return 0, false
	}
	if length == 0 {
		return MaskAll, true
	}
	return length, true
}

type flagName struct {
	name      string
	scheduler Scheduler // empty: any
	flag      Flags
}

// flagNames are the words of option -b. A flag has a general name and, with
// the schedulers that use it, one of its own.
var flagNames = []flagName{
	{"sh-fallback", SH, SHFallback},
	{"sh-port", SH, SHPort},
	{"mh-fallback", MH, MHFallback},
	{"mh-port", MH, MHPort},
	{"flag-1", "", SchedFlag1},
	{"flag-2", "", SchedFlag2},
	{"flag-3", "", SchedFlag3},
}

func appendFlags(b []byte, s Scheduler, flags Flags) []byte {
	separator := " -b "
	for _, f := range flagNames {
		if flags&f.flag != 0 && (f.scheduler == s || f.scheduler == "") {
			b = append(append(b, separator...), f.name...)
			flags &^= f.flag
			separator = ","
		}
	}
	return b
}

// appendDestination appends a destination in normal form with its options.
// Where full is set, it spells out the defaults that ipvsadm -S spells out.
func appendDestination(b []byte, id ServiceID, d Destination, full bool) []byte {
	b = appendID(b, id)
	b = appendAddr(append(b, " -r "...), d.Addr)
	switch d.Forward {
	case ForwardMasq:
		b = append(b, " -m"...)
	case ForwardTunnel:
		b = append(b, " -i"...)
	default:
		b = append(b, " -g"...)
	}
	b = strconv.AppendInt(append(b, " -w "...), int64(d.Weight), 10)
	if d.Forward == ForwardTunnel {
		b = appendTunnel(b, d.Tunnel, full)
	}
	if d.Upper != 0 {
		b = strconv.AppendUint(append(b, " -x "...), uint64(d.Upper), 10)
	}
	if d.Lower != 0 {
		b = strconv.AppendUint(append(b, " -y "...), uint64(d.Lower), 10)
	}
	return b
}

func appendTunnel(b []byte, t Tunnel, full bool) []byte {
	if t.Type == IPIP && !full {
		return b
	}
	b = append(append(b, " --tun-type "...), t.Type.String()...)
	if t.Type == IPIP {
		return b
	}
	if t.Port != 0 {
		b = strconv.AppendUint(append(b, " --tun-port "...), uint64(t.Port), 10)
	}
	switch {
	case t.Flags&TunnelRemCsum != 0:
		b = append(b, " --tun-remcsum"...)
	case t.Flags&TunnelCsum != 0:
		b = append(b, " --tun-csum"...)
	case full:
		b = append(b, " --tun-nocsum"...)
	}
	return b
}
