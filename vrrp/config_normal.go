package vrrp

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// centisecond is the unit of VRRPv3's interval.
const centisecond = 10 * time.Millisecond

// The limits of a Config.
const (
	maxIntervalV3   = 4095 * centisecond
	maxIntervalV2   = 255 * time.Second
	maxDownCount    = 100
	maxPreemptDelay = 1000 * time.Second
	maxAddresses    = 255
	maxPeers        = 255
	maxInterface    = 15 // IFNAMSIZ without its zero
	minSecret       = 32
	maxSecret       = 64
	minWindow       = 5 * time.Second // if it is derived from Interval
	maxWindow       = 300 * time.Second
)

// The groups (RFC 9568, sections 5.1.1.2 and 5.1.2.2).
var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	group6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// normal is c, valid and complete: with defaults, with copies of the caller's
// slices, and with plain addresses (no IPv4 inside IPv6, no zones). The error
// matches fs.ErrInvalid and says which field is wrong and what is wanted. To make
// a normal Config normal changes nothing.
func (c Config) normal() (Config, error) {
	for _, step := range []func(*Config) error{
		(*Config).normalNames, (*Config).normalAddresses, (*Config).normalTimes,
		(*Config).normalPaths, (*Config).normalSecondPath, (*Config).normalAuth,
	} {
		if err := step(&c); err != nil {
			return Config{}, err
		}
	}
	if c.Name == "" {
		c.Name = c.Interface + "/" + strconv.Itoa(int(c.VRID))
		if c.ipv6() {
			c.Name += "/ipv6"
		}
	}
	return c, nil
}

// ipv6 is the family of a Config with valid Addresses.
func (c *Config) ipv6() bool { return c.Addresses[0].Is6() }

func (c *Config) normalNames() error {
	if err := checkInterface("Interface", c.Interface); err != nil {
		return err
	}
	if c.VRID == 0 {
		return invalid("VRID is 0: want 1 to 255")
	}
	if c.Version == 0 {
		c.Version = V3
	}
	if c.Version != V2 && c.Version != V3 {
		return invalid("Version is %d: want 2 or 3", c.Version)
	}
	if c.Priority == 0 {
		c.Priority = 100
	}
	return nil
}

// checkInterface is the kernel's dev_valid_name.
func checkInterface(field, s string) error {
	switch {
	case s == "":
		return invalid("%s is empty: want the name of an interface, such as eth0", field)
	case len(s) > maxInterface:
		return invalid("%s is %q: a name has at most %d bytes", field, s, maxInterface)
	case s == ".", s == "..", strings.ContainsAny(s, "/: \t\n\v\f\r\x00"):
		return invalid("%s is %q: no name of an interface", field, s)
	}
	return nil
}

func (c *Config) normalAddresses() error {
	if len(c.Addresses) == 0 || len(c.Addresses) > maxAddresses {
		return invalid("Addresses has %d: want 1 to %d virtual addresses", len(c.Addresses), maxAddresses)
	}
	c.Addresses = slices.Clone(c.Addresses)
	family := c.Addresses[0].Unmap()
	for i, a := range c.Addresses {
		if a.Zone() != "" {
			return invalid("Addresses has %v: want no zone", a)
		}
		a = a.Unmap()
		if err := checkUnicast("Addresses", a, family.Is6()); err != nil {
			return err
		}
		if slices.Contains(c.Addresses[:i], a) {
			return invalid("Addresses has %v twice", a)
		}
		c.Addresses[i] = a
	}
	if c.Version == V2 && c.ipv6() {
		return invalid("Addresses has %v: VRRPv2 is for IPv4, IPv6 wants Version 3", c.Addresses[0])
	}
	return nil
}

// checkUnicast checks an address of a host.
func checkUnicast(field string, a netip.Addr, ipv6 bool) error {
	switch {
	case !a.IsValid():
		return invalid("%s has the zero netip.Addr: want an address", field)
	case a.Is6() != ipv6 && ipv6:
		return invalid("%s has %v: want IPv6 only, as Addresses begins", field, a)
	case a.Is6() != ipv6:
		return invalid("%s has %v: want IPv4 only, as Addresses begins", field, a)
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return invalid("%s has %v: want the unicast address of a host", field, a)
	}
	return nil
}

func (c *Config) normalTimes() error {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	switch {
	case c.Version == V2 && (c.Interval%time.Second != 0 || c.Interval < time.Second || c.Interval > maxIntervalV2):
		return invalid("Interval is %v: VRRPv2 wants whole seconds, 1s to 255s (Version 3 has shorter ones)", c.Interval)
	case c.Version == V3 && (c.Interval < centisecond || c.Interval > maxIntervalV3):
		return invalid("Interval is %v: want %v to %v", c.Interval, centisecond, maxIntervalV3)
	case c.Version == V3 && c.Interval%centisecond != 0:
		return invalid("Interval is %v: want a multiple of %v", c.Interval, centisecond)
	}
	if c.DownCount == 0 {
		c.DownCount = 3
	}
	if c.DownCount < 1 || c.DownCount > maxDownCount {
		return invalid("DownCount is %d: want 1 to %d intervals", c.DownCount, maxDownCount)
	}
	switch debounce := time.Duration(c.DownCount-1) * c.Interval; {
	case c.PreemptDelay < 0 || c.PreemptDelay > maxPreemptDelay:
		return invalid("PreemptDelay is %v: want 0 to %v", c.PreemptDelay, maxPreemptDelay)
	case c.PreemptDelay > 0 && c.NoPreempt:
		return invalid("PreemptDelay is %v and NoPreempt is set: want one of them, for NoPreempt never preempts", c.PreemptDelay)
	case c.StartupDelay < 0:
		return invalid("StartupDelay is %v: want 0 or more", c.StartupDelay)
	case c.TakeoverDelay < 0:
		return invalid("TakeoverDelay is %v: want 0 or more", c.TakeoverDelay)
	case c.LinkDebounce < 0 || c.LinkDebounce > 0 && c.LinkDebounce >= debounce:
		return invalid("LinkDebounce is %v: want less than %v (DownCount-1 intervals), so that the others do not take over first",
			c.LinkDebounce, debounce)
	}
	return nil
}

// normalPaths is for what has to do with where advertisements go.
func (c *Config) normalPaths() error {
	group := group4
	if c.ipv6() {
		group = group6
	}
	if !c.Multicast.IsValid() {
		c.Multicast = group
	}
	c.Multicast = c.Multicast.Unmap().WithZone("")
	if !c.Multicast.IsMulticast() || c.Multicast.Is6() != c.ipv6() {
		return invalid("Multicast is %v: want a multicast address of the family of Addresses, such as %v", c.Multicast, group)
	}
	var err error
	if c.Source, err = c.normalSource("Source", c.Interface, c.Source); err != nil {
		return err
	}
	if c.Peers, err = c.normalPeers("Peers", c.Interface, c.Peers, c.Source); err != nil {
		return err
	}
	switch {
	case c.MinHopLimit < 0 || c.MinHopLimit > 255:
		return invalid("MinHopLimit is %d: want 0 to 255", c.MinHopLimit)
	case c.VirtualMAC && len(c.Peers) > 0:
		return invalid("VirtualMAC is set and Peers too: only multicast is sent from the virtual MAC")
	case c.Checksum > MessageOnly:
		return invalid("Checksum is %d: want PseudoHeader or MessageOnly", c.Checksum)
	}
	return nil
}

// normalSource makes a source address on iface plain and checks it.
func (c *Config) normalSource(field, iface string, a netip.Addr) (netip.Addr, error) {
	if !a.IsValid() {
		return a, nil
	}
	a, err := c.plain(field, iface, a)
	if err == nil && slices.Contains(c.Addresses, a) && c.Priority != 255 {
		err = invalid("%s is %v, a virtual address: want the router's own, for only their owner (Priority 255) sends from one", field, a)
	}
	return a, err
}

// normalPeers copies the addresses of peers on iface, makes them plain and checks
// them.
func (c *Config) normalPeers(field, iface string, peers []netip.Addr, source netip.Addr) ([]netip.Addr, error) {
	if len(peers) > maxPeers {
		return nil, invalid("%s has %d: want at most %d", field, len(peers), maxPeers)
	}
	peers = slices.Clone(peers)
	for i, p := range peers {
		a, err := c.plain(field, iface, p)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(c.Addresses, a):
			return nil, invalid("%s has %v, a virtual address: want the peer's own", field, a)
		case a == source:
			return nil, invalid("%s has %v, which is the source address: want the other routers only", field, a)
		case slices.Contains(peers[:i], a):
			return nil, invalid("%s has %v twice", field, a)
		}
		peers[i] = a
	}
	return peers, nil
}

// plain is a without its zone, which may be iface, and unmapped.
func (c *Config) plain(field, iface string, a netip.Addr) (netip.Addr, error) {
	if z := a.Zone(); z != "" && z != iface {
		return a, invalid("%s has %v: want no zone, or %s", field, a, iface)
	}
	a = a.Unmap().WithZone("")
	return a, checkUnicast(field, a, c.ipv6())
}

func (c *Config) normalSecondPath() error {
	s := &c.SecondPath
	if s.Interface == "" && len(s.Peers) == 0 && !s.Source.IsValid() {
		s.Peers = nil
		return nil
	}
	if err := checkInterface("SecondPath.Interface", s.Interface); err != nil {
		return err
	}
	if s.Interface == c.Interface {
		return invalid("SecondPath.Interface is %s, as Interface: want another one, or it fails with the first", s.Interface)
	}
	if len(s.Peers) == 0 {
		return invalid("SecondPath.Peers is empty: want the addresses of the other routers on %s", s.Interface)
	}
	var err error
	if s.Source, err = c.normalSource("SecondPath.Source", s.Interface, s.Source); err != nil {
		return err
	}
	s.Peers, err = c.normalPeers("SecondPath.Peers", s.Interface, s.Peers, s.Source)
	return err
}

func (c *Config) normalAuth() error {
	a := &c.Auth
	switch {
	case a.Kind > AuthHMAC:
		return invalid("Auth.Kind is %d: want AuthNone, AuthPass, AuthAH or AuthHMAC", a.Kind)
	case (a.Kind == AuthPass || a.Kind == AuthAH) && c.Version != V2:
		return invalid("Auth.Kind is %v: VRRPv3 has no such authentication, want AuthHMAC or Version 2", a.Kind)
	case a.Kind == AuthHMAC && c.Version != V3:
		return invalid("Auth.Kind is %v: want Version 3 with it", a.Kind)
	case (a.Kind == AuthPass || a.Kind == AuthAH) && (a.Password == "" || len(a.Password) > passwordLen):
		return invalid("Auth.Password has %d bytes: want 1 to %d", len(a.Password), passwordLen)
	case a.Kind != AuthPass && a.Kind != AuthAH && a.Password != "":
		return invalid("Auth.Password is set, but Auth.Kind is %v: want AuthPass or AuthAH with it", a.Kind)
	case a.Kind == AuthHMAC:
		return a.HMAC.normal(c.Interval)
	case len(a.HMAC.Keys) > 0:
		return invalid("Auth.HMAC.Keys is set, but Auth.Kind is %v: want AuthHMAC with it", a.Kind)
	}
	a.HMAC = HMAC{}
	return nil
}

func (m *HMAC) normal(interval time.Duration) error {
	if len(m.Keys) == 0 {
		return invalid("Auth.HMAC.Keys is empty: want at least one key")
	}
	m.Keys = slices.Clone(m.Keys)
	ids := map[uint8]bool{}
	for i, k := range m.Keys {
		switch {
		case k.ID == 0:
			return invalid("Auth.HMAC.Keys has a key with ID 0: want 1 to 255")
		case ids[k.ID]:
			return invalid("Auth.HMAC.Keys has two keys with ID %d", k.ID)
		case len(k.Secret) < minSecret || len(k.Secret) > maxSecret:
			return invalid("Auth.HMAC.Keys: %v has %d bytes: want %d to %d", k, len(k.Secret), minSecret, maxSecret)
		}
		ids[k.ID] = true
		m.Keys[i].Secret = bytes.Clone(k.Secret)
	}
	if m.Active == 0 {
		m.Active = m.Keys[0].ID
	}
	if !m.NoWindow && m.Window == 0 {
		// Up to the next second: keepalived compares seconds.
		m.Window = max(minWindow, (3*interval + time.Second - 1).Truncate(time.Second))
	}
	switch {
	case !ids[m.Active]:
		return invalid("Auth.HMAC.Active is %d: want the ID of one of Keys", m.Active)
	case m.Mode > HMACReceive:
		return invalid("Auth.HMAC.Mode is %d: want HMACEnforce, HMACPermissive or HMACReceive", m.Mode)
	case m.NoWindow && m.Window != 0:
		return invalid("Auth.HMAC.Window is %v and NoWindow is set: want one of them", m.Window)
	case !m.NoWindow && (m.Window < time.Second || m.Window > maxWindow || m.Window%time.Second != 0):
		return invalid("Auth.HMAC.Window is %v: want whole seconds, 1s to %v", m.Window, maxWindow)
	}
	return nil
}
