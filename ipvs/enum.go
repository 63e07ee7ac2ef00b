package ipvs

import (
	"fmt"
	"strconv"
	"strings"
)

// Family is an address family.
type Family uint8

const (
	IPv4 Family = iota
	IPv6
)

// Protocol is a transport protocol, by its IP number.
type Protocol uint8

const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// Forward is how packets reach a real server.
type Forward uint8

const (
	ForwardRoute  Forward = iota // direct routing (DR): the frame is sent to the server's MAC address, the packet untouched
	ForwardMasq                  // NAT: addresses are rewritten, answers come back through the director
	ForwardTunnel                // the packet is wrapped (TUN); answers go straight to the client
	ForwardLocal                 // the director itself
	ForwardBypass                // sent on to its original address; of the kernel's cache cluster, not for configuration
)

// TunnelType is the encapsulation of ForwardTunnel.
type TunnelType uint8

const (
	IPIP TunnelType = iota // IP in IP
	GUE                    // generic UDP encapsulation, kernel 5.2 and newer
	GRE                    // generic routing encapsulation, kernel 5.3 and newer
)

// Scheduler is the name of a scheduler, as the kernel's module ip_vs_NAME has
// it: any name is taken, so that one from outside the kernel tree works too.
// The zero value is WLC.
//
// The kernel loads the module of a scheduler by itself. For lblc and lblcr do
// it beforehand (modprobe ip_vs_lblc ip_vs_lblcr at boot), if network
// namespaces come and go on the machine, as those of containers do: while such a
// module is loaded on demand the kernel holds the lock that the end of a namespace
// waits for, and the module waits for that end. The table, and with it all
// changes of the machine's network, then stands still until a reboot. Seen
// on 6.1; the others register nothing that could wait (ip_vs_lblc.c,
// register_pernet_subsys).
type Scheduler string

const (
	RR    Scheduler = "rr"    // round robin
	WRR   Scheduler = "wrr"   // weighted round robin
	LC    Scheduler = "lc"    // least connections
	WLC   Scheduler = "wlc"   // weighted least connections
	FO    Scheduler = "fo"    // failover: the available server of the highest weight
	OVF   Scheduler = "ovf"   // overflow: the next server when connections pass the weight
	LBLC  Scheduler = "lblc"  // locality-based least connections; load its module beforehand
	LBLCR Scheduler = "lblcr" // the same with replication; load its module beforehand
	DH    Scheduler = "dh"    // destination hash
	SH    Scheduler = "sh"    // source hash
	MH    Scheduler = "mh"    // Maglev hash
	SED   Scheduler = "sed"   // shortest expected delay
	NQ    Scheduler = "nq"    // never queue
	TWOS  Scheduler = "twos"  // power of two choices; not in every kernel
	// NoScheduler leaves a service without one: it schedules nothing until it
	// is given one. Building a large service of mh starts here.
	NoScheduler Scheduler = "none"
)

var (
	familyNames   = []string{IPv4: "IPv4", IPv6: "IPv6"}
	forwardNames  = []string{ForwardRoute: "Route", ForwardMasq: "Masq", ForwardTunnel: "Tunnel", ForwardLocal: "Local", ForwardBypass: "Bypass"}
	tunnelNames   = []string{IPIP: "ipip", GUE: "gue", GRE: "gre"}
	protocolNames = []string{TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
)

// String is "IPv4" or "IPv6".
func (f Family) String() string { return name("Family", familyNames, uint8(f)) }

// MarshalText is String; a value without a name is an error.
func (f Family) MarshalText() ([]byte, error) { return marshal("family", familyNames, uint8(f)) }

// UnmarshalText takes a name in any case.
func (f *Family) UnmarshalText(b []byte) error { return unmarshal("family", familyNames, b, f) }

// String is "TCP", "UDP" or "SCTP".
func (p Protocol) String() string { return name("Protocol", protocolNames, uint8(p)) }

// MarshalText is String; a value without a name is an error.
func (p Protocol) MarshalText() ([]byte, error) {
	return marshal("protocol", protocolNames, uint8(p))
}

// UnmarshalText takes a name in any case.
func (p *Protocol) UnmarshalText(b []byte) error { return unmarshal("protocol", protocolNames, b, p) }

// String is the word that ipvsadm -L prints: "Route", "Masq", "Tunnel",
// "Local" or "Bypass".
func (f Forward) String() string { return name("Forward", forwardNames, uint8(f)) }

// MarshalText is String; a value without a name is an error.
func (f Forward) MarshalText() ([]byte, error) { return marshal("forward", forwardNames, uint8(f)) }

// UnmarshalText takes a name in any case.
func (f *Forward) UnmarshalText(b []byte) error { return unmarshal("forward", forwardNames, b, f) }

// String is "ipip", "gue" or "gre".
func (t TunnelType) String() string { return name("TunnelType", tunnelNames, uint8(t)) }

// MarshalText is String; a value without a name is an error.
func (t TunnelType) MarshalText() ([]byte, error) {
	return marshal("tunnel type", tunnelNames, uint8(t))
}

// UnmarshalText takes a name in any case.
func (t *TunnelType) UnmarshalText(b []byte) error {
	return unmarshal("tunnel type", tunnelNames, b, t)
}

func name(kind string, names []string, v uint8) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return kind + "(" + strconv.Itoa(int(v)) + ")"
}

func marshal(kind string, names []string, v uint8) ([]byte, error) {
	if int(v) < len(names) && names[v] != "" {
		return []byte(names[v]), nil
	}
	return nil, fmt.Errorf("ipvs: %s %d has no name", kind, v)
}

func unmarshal[T ~uint8](kind string, names []string, b []byte, v *T) error {
	for i, n := range names {
		if n != "" && strings.EqualFold(n, string(b)) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("ipvs: unknown %s %q", kind, b)
}
