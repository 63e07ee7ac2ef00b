package vip

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	inet6AddrGenMode = 8 // IFLA_INET6_ADDR_GEN_MODE of uapi linux/if_link.h
	addrGenNone      = 1 // IN6_ADDR_GEN_MODE_NONE
)

// addVirtualMAC makes a device, as addTunnel does: under a name that says whose
// it is, with all its settings before it is up.
func (k *kernel) addVirtualMAC(v VirtualMAC, settings []Setting) error {
	temp := tempName(k.mark)
	if err := k.deleteLink(temp); err != nil {
		return err
	}
	parent, err := k.indexOf(v.Parent)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = temp, parent, v.MAC()
	err = netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel has no macvlan devices: modprobe macvlan (%w)", errors.ErrUnsupported)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another device on %s has the MAC %v: %w", v.Parent, v.MAC(), ErrForeign)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s takes no macvlan: %w", v.Parent, err)
	case err != nil:
		return words(err)
	}
	link, err := k.oneLink(0, temp)
	if err == nil {
		err = k.dressVirtualMAC(link, v, settings)
	}
	if err != nil {
		return errors.Join(err, k.deleteLink(temp))
	}
	return nil
}

func (k *kernel) dressVirtualMAC(link Link, v VirtualMAC, settings []Setting) error {
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(link.Index)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	if len(settings) > 0 {
		conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
		for _, s := range settings {
			conf.AddRtAttr(keys[s.Key], nl.Uint32Attr(uint32(s.Value)))
		}
	}
	ipv6, err := k.acceptNoRouters(link.Name)
	if err != nil {
		return err
	}
	if ipv6 {
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(inet6AddrGenMode, []byte{addrGenNone})
	}
	if _, err := k.request(unix.RTM_SETLINK, unix.NLM_F_ACK, head, spec).Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return words(err)
	}
	head = nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index, head.Flags, head.Change = int32(link.Index), unix.IFF_UP, unix.IFF_UP
	_, err = k.request(unix.RTM_SETLINK, unix.NLM_F_ACK, head,
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(v.alias(k.mark)))).Execute(unix.NETLINK_ROUTE, 0)
	return words(err)
}

// acceptNoRouters keeps the device from making addresses and routes of its own
// of what routers advertise, which the parent hears too. It tells whether the
// device has IPv6. The setting has no other way than /proc/sys.
func (k *kernel) acceptNoRouters(name string) (ipv6 bool, err error) {
	err = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_ra", []byte("0"), 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, unix.EROFS):
		k.log.Warn("a virtual MAC's device may take router advertisements: /proc/sys is read-only", "err", err)
		err = nil
	}
	return true, err
}
