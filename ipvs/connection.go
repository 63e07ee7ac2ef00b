package ipvs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Connection is an entry of the connection table: a connection, or a template
// that remembers which destination a client has.
type Connection struct {
	// Protocol is TCP, UDP, SCTP or, where the kernel tracks others, their
	// number. Zero is a template of a service by firewall mark.
	Protocol Protocol

	// Client, Virtual and Destination are the three ends. The client of a
	// template is masked by Persistence.Mask and has port 0; the virtual
	// address of a template of a firewall mark is that mark written as an
	// address. The family of Destination may differ from the others'.
	Client, Virtual, Destination netip.AddrPort

	State   ConnectionState
	Expires time.Duration // until the entry goes if no packet comes, in whole seconds

	// Engine is the persistence engine that made a template, and EngineData
	// what it goes by (sip: the Call-ID). Empty for all others.
	Engine, EngineData string

	// Origin tells a connection that this machine took from one that a sync
	// daemon brought. It is OriginUnknown where the table changed while it was
	// read.
	Origin Origin
}

// Template reports whether the entry is not a connection but what remembers a
// client for persistence.
func (c Connection) Template() bool { return c.Client.Port() == 0 }

// ConnectionState is a state of a connection as the kernel writes it
// (net/netfilter/ipvs/ip_vs_proto_*.c). SCTP has others besides.
type ConnectionState string

const (
	StateNone        ConnectionState = "NONE"
	StateEstablished ConnectionState = "ESTABLISHED"
	StateSynSent     ConnectionState = "SYN_SENT"
	StateSynRecv     ConnectionState = "SYN_RECV"
	StateFinWait     ConnectionState = "FIN_WAIT"
	StateTimeWait    ConnectionState = "TIME_WAIT"
	StateClose       ConnectionState = "CLOSE"
	StateCloseWait   ConnectionState = "CLOSE_WAIT"
	StateLastAck     ConnectionState = "LAST_ACK"
	StateListen      ConnectionState = "LISTEN"
	StateSynAck      ConnectionState = "SYNACK"
	StateUDP         ConnectionState = "UDP"
	StateICMP        ConnectionState = "ICMP"
	StateAssured     ConnectionState = "ASSURED" // a template whose client was established
)

// connectionStates saves an allocation for each connection in a known state.
var connectionStates = [...]ConnectionState{
	StateEstablished, StateTimeWait, StateFinWait, StateUDP, StateNone, StateAssured, StateSynRecv, StateSynSent,
	StateClose, StateCloseWait, StateLastAck, StateListen, StateSynAck, StateICMP,
}

// Origin says where a connection came from.
type Origin uint8

const (
	OriginUnknown Origin = iota
	OriginLocal          // this machine
	OriginSync           // a sync daemon
)

var originNames = []string{OriginUnknown: "UNKNOWN", OriginLocal: "LOCAL", OriginSync: "SYNC"}

// String is "LOCAL", "SYNC" or "UNKNOWN".
func (o Origin) String() string { return name("Origin", originNames, uint8(o)) }

// MarshalText is String; a value without a name is an error.
func (o Origin) MarshalText() ([]byte, error) { return marshal("origin", originNames, uint8(o)) }

// UnmarshalText takes a name in any case.
func (o *Origin) UnmarshalText(b []byte) error { return unmarshal("origin", originNames, b, o) }

// maxConnectionLine bounds a line of the connection table. The longest that
// the kernel writes has three IPv6 addresses and 255 bytes of an engine.
const maxConnectionLine = 1024

// parseConnection reads a line of /proc/net/ip_vs_conn
// (net/netfilter/ipvs/ip_vs_conn.c, ip_vs_conn_seq_show):
//
//	TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 0050 ESTABLISHED     899 sip data
func parseConnection(line []byte) (Connection, error) {
	c, rest, err := parseEnds(line)
	if err != nil {
		return c, err
	}
	expires, rest := field(rest)
	if c.Expires, err = parseExpires(expires); err != nil {
		return c, err
	}
	engine, data := field(rest)
	c.Engine, c.EngineData = string(engine), string(bytes.TrimSpace(data))
	return c, nil
}

// parseSyncConnection reads a line of /proc/net/ip_vs_conn_sync
// (ip_vs_conn_sync_seq_show), which has the origin and lacks the engine.
func parseSyncConnection(line []byte) (Connection, error) {
	c, rest, err := parseEnds(line)
	if err != nil {
		return c, err
	}
	origin, rest := field(rest)
	switch string(origin) {
	case "LOCAL":
		c.Origin = OriginLocal
	case "SYNC":
		c.Origin = OriginSync
	default:
		return c, fmt.Errorf("unknown origin %q", origin)
	}
	expires, _ := field(rest)
	c.Expires, err = parseExpires(expires)
	return c, err
}

// sameEnds reports whether two lines are about one entry.
func (c Connection) sameEnds(d Connection) bool {
	return c.Protocol == d.Protocol && c.Client == d.Client && c.Virtual == d.Virtual && c.Destination == d.Destination
}

// parseEnds reads what both tables have in front.
func parseEnds(line []byte) (c Connection, rest []byte, err error) {
	text, rest := field(line)
	if c.Protocol, err = parseProtocol(text); err != nil {
		return c, nil, err
	}
	for _, end := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Destination} {
		if *end, rest, err = parseEnd(rest); err != nil {
			return c, nil, err
		}
	}
	text, rest = field(rest)
	if len(text) == 0 {
		return c, nil, fmt.Errorf("a line without a state")
	}
	c.State = parseState(text)
	return c, rest, nil
}

// parseProtocol takes the kernel's names (ip_vs_core.c, ip_vs_proto_name).
func parseProtocol(text []byte) (Protocol, error) {
	switch string(text) {
	case "TCP":
		return TCP, nil
	case "UDP":
		return UDP, nil
	case "SCTP":
		return SCTP, nil
	case "IP":
		return 0, nil
	case "ICMP":
		return 1, nil
	case "ESP":
		return 50, nil
	case "AH":
		return 51, nil
	case "ICMPv6":
		return 58, nil
	}
	if number, ok := bytes.CutPrefix(text, []byte("IP_")); ok {
		if n, err := strconv.ParseUint(string(number), 10, 8); err == nil {
			return Protocol(n), nil
		}
	}
	return 0, fmt.Errorf("unknown protocol %q", text)
}

// parseEnd takes an address and a port: 8 hexadecimal digits, or 8 groups of 4
// with colons, and 4 digits.
func parseEnd(b []byte) (netip.AddrPort, []byte, error) {
	text, rest := field(b)
	addr, err := parseHexAddr(text)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	text, rest = field(rest)
	var port [2]byte
	if len(text) != 4 {
		return netip.AddrPort{}, nil, fmt.Errorf("unreadable port %q", text)
	}
	if _, err := hex.Decode(port[:], text); err != nil {
		return netip.AddrPort{}, nil, fmt.Errorf("unreadable port %q", text)
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port[:])), rest, nil
}

func parseHexAddr(text []byte) (netip.Addr, error) {
	var b [16]byte
	switch {
	case len(text) == 8:
		if _, err := hex.Decode(b[:4], text); err == nil {
			return netip.AddrFrom4([4]byte(b[:4])), nil
		}
	case len(text) == 39:
		for i := range 8 {
			group := text[i*5:]
			_, err := hex.Decode(b[i*2:i*2+2], group[:4])
			if err != nil || i < 7 && group[4] != ':' {
				return netip.Addr{}, fmt.Errorf("unreadable address %q", text)
			}
		}
		return netip.AddrFrom16(b), nil
	}
	return netip.Addr{}, fmt.Errorf("unreadable address %q", text)
}

func parseState(text []byte) ConnectionState {
	for _, s := range connectionStates {
		if string(s) == string(text) {
			return s
		}
	}
	return ConnectionState(text)
}

// maxExpires is the longest timeout that the kernel takes, INT_MAX/HZ seconds
// with the lowest HZ.
const maxExpires = 1<<31/100 - 1

// parseExpires takes seconds. The kernel writes a timer that is due as an
// unsigned difference below zero: far more than any timeout, it is zero here.
func parseExpires(text []byte) (time.Duration, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("unreadable expiry %q", text)
	}
	if n > maxExpires {
		n = 0
	}
	return time.Duration(n) * time.Second, nil
}

// field cuts the first word off a line.
func field(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	word, rest, _ = bytes.Cut(b, []byte(" "))
	return bytes.TrimRight(word, "\n"), rest
}
