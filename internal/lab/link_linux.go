package lab

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// firstPort is the interface index of a lab's first switch port. The kernel
// reports the end of a carrier up to a second late when both ends of a veth
// pair have the same index (linkwatch_urgent_event, net/core/link_watch.c), so
// ports are numbered away from the interfaces of hosts.
const firstPort = 100_000

// carrierTimeout bounds the wait for what takes the kernel a millisecond.
const carrierTimeout = 10 * time.Second

// Link is a cable between a host and a switch.
type Link struct {
	host   *Host
	config LinkConfig
	index  int           // of the host's interface
	port   *netlink.Veth // the switch's end

	impaired bool // guarded by lab.mu
}

// Connect puts a cable between the host and a switch. When it returns, the
// interface is up and its addresses can be used. A name that the host has
// already matches fs.ErrExist.
func (h *Host) Connect(s *Switch, cfg LinkConfig) (*Link, error) {
	cfg.Addrs, cfg.MAC = slices.Clone(cfg.Addrs), slices.Clone(cfg.MAC)
	k := &Link{host: h, config: cfg}
	err := h.lab.use(func() error {
		if err := cfg.check(); err != nil {
			return err
		}
		if s.lab != h.lab {
			return fmt.Errorf("switch %s is of another lab", s.name)
		}
		return k.make(s)
	})
	if err != nil {
		return nil, h.wrap(fmt.Sprintf("connect %s to switch %s", cmp.Or(k.config.Name, "an interface"), s.name), err)
	}
	h.lab.log.Debug("link made", "host", h.name, "interface", k.config.Name, "switch", s.name)
	return k, nil
}

// make is Connect with the lab locked.
func (k *Link) make(s *Switch) error {
	h := k.host
	k.fill()
	h.lab.ports++
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = fmt.Sprintf("p%d", h.lab.ports), firstPort+h.lab.ports
	attrs.MTU = k.config.MTU
	attrs.Alias = h.name + " " + k.config.Name
	attrs.MasterIndex = s.bridge.Index
	k.port = netlink.NewVeth(attrs)
	k.port.PeerName = k.config.Name
	k.port.PeerHardwareAddr = k.config.MAC
	k.port.PeerMTU = uint32(k.config.MTU)
	k.port.PeerNamespace = netlink.NsFd(h.space.file.Fd())
	if err := h.lab.fabric.nl.LinkAdd(k.port); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	if err := k.start(); err != nil {
		return errors.Join(err, h.lab.fabric.nl.LinkDel(k.port))
	}
	h.links = append(h.links, k)
	return nil
}

// fill sets what the caller left to the lab.
func (k *Link) fill() {
	h, c := k.host, &k.config
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.MAC == nil {
		c.MAC = net.HardwareAddr{2, 'l', 'a', byte(h.number >> 8), byte(h.number), byte(len(h.links) + 1)}
	}
	for n := 0; c.Name == ""; n++ {
		name := fmt.Sprintf("eth%d", n)
		if !slices.ContainsFunc(h.links, func(o *Link) bool { return o.config.Name == name }) {
			c.Name = name
		}
	}
}

// start gives the new interface its addresses and sets both ends up.
func (k *Link) start() error {
	h := k.host
	iface, err := h.space.nl.LinkByName(k.config.Name)
	if err != nil {
		return fmt.Errorf("find %s: %w", k.config.Name, err)
	}
	k.index = iface.Attrs().Index
	if !k.config.Offload {
		if err := h.space.do(func() error { return noOffload(k.config.Name) }); err != nil {
			return fmt.Errorf("turn offload off: %w", err)
		}
	}
	for _, p := range k.config.Addrs {
		if err := h.space.nl.AddrAdd(iface, address(p)); err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	if err := h.space.nl.LinkSetUp(iface); err != nil {
		return fmt.Errorf("set %s up: %w", k.config.Name, err)
	}
	return k.carrier(true)
}

func address(p netip.Prefix) *netlink.Addr {
	ipnet := ipNet(p)
	a := &netlink.Addr{IPNet: &ipnet}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// Name is the interface's name on the host, as the link was made.
func (k *Link) Name() string { return k.config.Name }

// Index is the interface's index on the host.
func (k *Link) Index() int { return k.index }

// MAC is the interface's hardware address, as the link was made.
func (k *Link) MAC() net.HardwareAddr { return slices.Clone(k.config.MAC) }

// Down pulls the cable out: the host's interface stays, up, without carrier.
func (k *Link) Down() error { return k.plug(false) }

// Up puts the cable back in.
func (k *Link) Up() error { return k.plug(true) }

func (k *Link) plug(up bool) error {
	err := k.host.lab.use(func() error { return k.carrier(up) })
	if err != nil {
		return k.host.wrap("cable of "+k.config.Name, err)
	}
	k.host.lab.log.Debug("cable", "host", k.host.name, "interface", k.config.Name, "up", up)
	return nil
}

// carrier switches the port and waits until the host sees it. The kernel tells
// the two ends from a work queue, and drops frames until it has.
func (k *Link) carrier(up bool) error {
	nl := k.host.lab.fabric.nl
	set := nl.LinkSetDown
	if up {
		set = nl.LinkSetUp
	}
	if err := set(k.port); err != nil {
		return err
	}
	return k.host.space.do(func() error {
		for deadline := time.Now().Add(carrierTimeout); ; time.Sleep(200 * time.Microsecond) {
			if ok, err := k.settled(up); ok || err != nil {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the kernel has not seen the carrier change after %v", carrierTimeout)
			}
		}
	})
}

// settled tells whether both ends have the wanted state, with the thread on
// the host. An interface that the host itself has set down, moved away or
// deleted is none of ours.
func (k *Link) settled(up bool) (bool, error) {
	iface, err := k.host.space.nl.LinkByIndex(k.index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if iface.Attrs().Flags&net.FlagUp == 0 {
		return true, nil
	}
	port, err := k.host.lab.fabric.nl.LinkByIndex(k.port.Index)
	if err != nil {
		return false, err
	}
	for _, end := range []netlink.Link{iface, port} {
		if (end.Attrs().OperState == netlink.OperUp) != up {
			return false, nil
		}
	}
	if !up {
		return true, nil
	}
	return k.solicitable(iface)
}

// solicitable tells whether neighbours can find the interface's IPv6
// addresses. The kernel joins their solicited-node groups (RFC 4291, section
// 2.7.1) from a work queue too, and a solicitation before that is lost, which
// costs the first connection a second.
func (k *Link) solicitable(iface netlink.Link) (bool, error) {
	addrs, err := k.host.space.nl.AddrList(iface, netlink.FAMILY_V6)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, nil // they are changing
	}
	if err != nil || len(addrs) == 0 {
		return true, err
	}
	groups, err := os.ReadFile("/proc/thread-self/net/igmp6")
	if err != nil {
		return false, err
	}
	joined := make(map[string]bool) // of "index name group ..."
	for line := range strings.Lines(string(groups)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == strconv.Itoa(k.index) {
			joined[f[2]] = true
		}
	}
	for _, a := range addrs {
		if !joined[fmt.Sprintf("ff0200000000000000000001ff%x", []byte(a.IP[13:]))] {
			return false, nil
		}
	}
	return true, nil
}
