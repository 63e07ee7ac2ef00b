package ipvs

import (
	"fmt"
	"net/netip"
)

// DaemonState is the part that a sync daemon has. There is no zero value.
type DaemonState uint8

const (
	DaemonMaster DaemonState = 1 // sends the connections of this machine
	DaemonBackup DaemonState = 2 // receives those of a master
)

var daemonNames = []string{DaemonMaster: "master", DaemonBackup: "backup"}

// String is "master" or "backup".
func (s DaemonState) String() string { return name("DaemonState", daemonNames, uint8(s)) }

// MarshalText is String; a value without a name is an error.
func (s DaemonState) MarshalText() ([]byte, error) {
	return marshal("sync daemon", daemonNames, uint8(s))
}

// UnmarshalText takes a name in any case.
func (s *DaemonState) UnmarshalText(b []byte) error {
	return unmarshal("sync daemon", daemonNames, b, s)
}

// Daemon is a sync daemon: a kernel thread that copies the connection table
// between directors by multicast, so that connections survive the change of
// director. A machine may run a master and a backup at once.
//
// The protocol knows no mixed families: the kernel refuses a daemon where a
// service has a destination of the other family, and the other way round.
type Daemon struct {
	State DaemonState

	// Interface is where the multicast goes out and comes in. The kernel takes
	// one that is down or has no address too, to no use.
	Interface string

	// SyncID tells the groups of directors on one network apart, 0 to 255. A
	// backup of SyncID 0 takes the connections of every master.
	SyncID int

	// MaxLen is the largest payload of a message in bytes. Zero: what fits the
	// MTU of Interface, 1460 for a backup (net/netfilter/ipvs/ip_vs_sync.c).
	MaxLen int

	Group netip.Addr // multicast address; zero: 224.0.0.81
	Port  uint16     // first UDP port, of vs.sync_ports; zero: 8848
	TTL   uint8      // of multicast packets; zero: 1
}

// Attributes of a sync daemon (IPVS_DAEMON_ATTR_*).
const (
	attrDaemonState uint16 = iota + 1
	attrDaemonInterface
	attrDaemonSyncID
	attrDaemonMaxLen
	attrDaemonGroup
	attrDaemonGroup6
	attrDaemonPort
	attrDaemonTTL
)

// validate reports the first thing that the kernel would refuse, or cut short
// and take.
func (d Daemon) validate() error {
	switch {
	case d.State != DaemonMaster && d.State != DaemonBackup:
		return invalidf("%d is no state of a sync daemon: it is DaemonMaster or DaemonBackup", d.State)
	case d.Interface == "":
		return invalidf("a sync daemon needs an interface")
	case len(d.Interface) > maxName:
		return invalidf("interface name %q is longer than %d bytes", d.Interface, maxName)
	case d.SyncID < 0 || d.SyncID > 255:
		return invalidf("sync ID %d is not within 0 to 255", d.SyncID)
	case d.MaxLen < 0 || d.MaxLen > 65535:
		return invalidf("message length %d is not within 0 to 65535", d.MaxLen)
	case d.Group.IsValid() && !d.Group.IsMulticast():
		return invalidf("group %v is not a multicast address", d.Group)
	}
	return nil
}

// daemon appends the daemon attribute. Its port is in the byte order of the
// machine, unlike every other port here.
func (e *encoder) daemon(d Daemon) {
	mark := e.nest(attrDaemon)
	e.u32(attrDaemonState, uint32(d.State))
	if d.Interface != "" {
		e.str(attrDaemonInterface, d.Interface)
		e.u32(attrDaemonSyncID, uint32(d.SyncID))
	}
	if d.MaxLen != 0 {
		e.u16(attrDaemonMaxLen, uint16(d.MaxLen))
	}
	switch group := d.Group.Unmap().WithZone(""); {
	case group.Is4():
		e.addr(attrDaemonGroup, group)
	case group.Is6():
		e.addr(attrDaemonGroup6, group)
	}
	if d.Port != 0 {
		e.u16(attrDaemonPort, d.Port)
	}
	if d.TTL != 0 {
		e.u8(attrDaemonTTL, d.TTL)
	}
	e.endNest(mark)
}

// decodeDaemon reads the attributes of an answer that carries a daemon.
func decodeDaemon(b []byte) (d Daemon, err error) {
	if b, err = nested(b, attrDaemon); err != nil {
		return d, err
	}
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case attrDaemonState:
			n := a.u32()
			if n != uint32(DaemonMaster) && n != uint32(DaemonBackup) {
				return d, fmt.Errorf("unknown state %d of a sync daemon", n)
			}
			d.State = DaemonState(n)
		case attrDaemonInterface:
			d.Interface = a.name()
		case attrDaemonSyncID:
			d.SyncID = int(a.u32())
		case attrDaemonMaxLen:
			d.MaxLen = int(a.u16())
		case attrDaemonGroup:
			d.Group, a.err = decodeAddr(a.b, afINET)
		case attrDaemonGroup6:
			d.Group, a.err = decodeAddr(a.b, afINET6)
		case attrDaemonPort:
			d.Port = a.u16()
		case attrDaemonTTL:
			d.TTL = a.u8()
		}
	}
	if a.err == nil && d.State == 0 {
		a.err = errNoAttribute
	}
	return d, a.err
}
