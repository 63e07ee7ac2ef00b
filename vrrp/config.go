package vrrp

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"time"
)

// Version is the version of VRRP; zero is VRRPv3.
type Version uint8

// String is VRRPv2 or VRRPv3.
func (v Version) String() string { return "VRRPv" + strconv.Itoa(int(v)) }

// The versions.
const (
	V2 Version = 2 // RFC 3768, IPv4 only
	V3 Version = 3 // RFC 9568 and RFC 5798
)

// Checksum is the form of the checksum that VRRPv3 over IPv4 sends. Both are
// always accepted.
type Checksum uint8

// The forms.
const (
	// PseudoHeader covers an IPv4 pseudo-header too, as keepalived and FRR read
	// RFC 5798.
	PseudoHeader Checksum = iota
	// MessageOnly covers the VRRP message alone (RFC 9568, section 5.2.8).
	MessageOnly
)

var checksumNames = [...]string{"pseudo-header", "message-only"}

// String is pseudo-header or message-only.
func (c Checksum) String() string { return name(checksumNames[:], "checksum", c) }

// MarshalText is String.
func (c Checksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (c *Checksum) UnmarshalText(b []byte) error {
	return named(c, checksumNames[:], "checksum", b)
}

// Config is the configuration of a Router. Interface, VRID and Addresses must be
// set; the zero value of every other field is the standard's default.
type Config struct {
	// Name is for logs and events; empty is "eth0/51", or "eth0/51/ipv6".
	Name string
	// NetNS is the path of the network namespace, such as /run/netns/blue;
	// empty is the caller's.
	NetNS string
	// Logger gets transitions (Info), what is wrong with others (Warn) and packets
	// (Debug); nil discards.
	Logger *slog.Logger

	// Interface is where advertisements are sent and heard.
	Interface string
	// VRID is the number of the virtual router on its link, 1 to 255. IPv4 and IPv6
	// have separate numbers.
	VRID uint8
	// Version is V2 or V3; zero is V3.
	Version Version
	// Addresses are the virtual addresses, all IPv4 or all IPv6, 1 to 255, in the
	// order in which they are advertised. The first IPv6 address should be
	// link-local (RFC 9568, section 5.2.9).
	Addresses []netip.Addr

	// Priority is 1 to 254, or 255 for the owner of the addresses; zero is 100.
	Priority uint8
	// Interval is the time between advertisements; zero is 1 s. VRRPv3: 10 ms to
	// 40.95 s in steps of 10 ms. VRRPv2: 1 to 255 whole seconds.
	Interval time.Duration
	// DownCount is how many intervals of silence make the Active router dead;
	// zero is 3. 1 to 100, the same on all routers (not in the RFC).
	DownCount int
	// NoPreempt keeps a lower-priority Active router as long as it lives.
	// Priority 255 preempts nevertheless.
	NoPreempt bool
	// PreemptDelay is how long a lower-priority Active router is left alone, from its
	// first advertisement on; 0 to 1000 s, and 0 with NoPreempt.
	PreemptDelay time.Duration
	// StartupDelay is how long Run only listens before it may become Active, on top of
	// the Active_Down_Interval.
	StartupDelay time.Duration
	// TakeoverDelay is how long a Backup waits after the Active_Down_Interval, for an
	// advertisement that is only late, before it takes over. A resigned Active router
	// is followed without it.
	TakeoverDelay time.Duration

	// Multicast is the group; zero is 224.0.0.18 or ff02::12.
	Multicast netip.Addr
	// Peers, if there are any, are the other routers: advertisements go to each of
	// them by unicast, and none from others is accepted.
	Peers []netip.Addr
	// Source is the address to send from; zero is the first suitable address of the
	// interface (IPv6: link-local), never a virtual one. Only the owner, with Priority
	// 255, may name one of Addresses.
	Source netip.Addr
	// MinHopLimit is the least TTL or hop limit of a packet that is accepted from
	// Peers and SecondPath.Peers, 0 to 255; zero is any. Multicast must have 255.
	MinHopLimit int
	// VirtualMAC sends multicast advertisements from the virtual router's own MAC,
	// 00-00-5E-00-01-VRID or 00-00-5E-00-02-VRID (RFC 9568, section 7.3). The Binder
	// should then hold the addresses on a device with this MAC.
	VirtualMAC bool
	// Checksum is the form that is sent by VRRPv3 over IPv4.
	Checksum Checksum
	// Auth is the authentication; zero is none.
	Auth Auth

	// IgnoreLink keeps the Router going when its interface has no carrier.
	IgnoreLink bool
	// LinkDebounce is how long the interface must be down before the Router goes to
	// Fault; shorter than DownCount-1 intervals.
	LinkDebounce time.Duration

	// SecondPath is another way on which the Active router is heard.
	SecondPath SecondPath
	// Witness, if set, is asked when the Active router seems dead, and vetoes the
	// promotion by an error; the Router then listens for another
	// Active_Down_Interval. ctx ends after an interval, at least one second, or when
	// the question is void; no answer is a veto. It is not asked when the Active
	// router has resigned.
	Witness func(ctx context.Context) error

	// Group is the sync group, or nil.
	Group *Group
	// Binder holds the addresses while the Router is Active; nil for none.
	Binder Binder
	// OnEvent, if set, is called with every event, in order, on one goroutine that Run
	// owns and waits for. It may take its time.
	OnEvent func(Event)
}

// SecondPath is a way to the other routers by another interface. The Active
// router advertises there too, by unicast. A Backup does not take over while it
// hears it there; what is heard there never makes a Backup Active, and makes an
// Active router give way only to a higher priority. The zero SecondPath is none.
type SecondPath struct {
	Interface string
	Peers     []netip.Addr // the other routers there, of the family of Addresses
	Source    netip.Addr   // zero is the first suitable address of Interface
}
