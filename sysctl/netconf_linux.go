package sysctl

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// netconfID are the numbers of net/ipv4/conf in IFLA_INET_CONF (kernel:
// include/uapi/linux/ip.h, IPV4_DEVCONF_). Forwarding is not among them: set
// this way it would lack what the kernel does along with it.
var netconfID = map[string]int{
	"accept_redirects": 4, "secure_redirects": 5, "send_redirects": 6, "shared_media": 7,
	"rp_filter": 8, "accept_source_route": 9, "log_martians": 11, "arp_filter": 13,
	"arp_announce": 18, "arp_ignore": 19, "promote_secondaries": 20, "arp_accept": 21,
	"arp_notify": 22, "accept_local": 23, "src_valid_mark": 24, "route_localnet": 26,
}

// setByNetlink sets net/ipv4/conf/IFACE/NAME of a single interface without
// /proc/sys, by RTM_NEWLINK with IFLA_INET_CONF (kernel: net/ipv4/devinet.c,
// inet_set_link_af). Other keys are errors.ErrUnsupported.
func setByNetlink(k Key, value string) error {
	iface, name, ok := k.conf("ipv4")
	id, known := netconfID[name]
	n, err := strconv.ParseInt(value, 10, 32)
	if !ok || !known || err != nil || iface == "all" || iface == "default" {
		return fmt.Errorf("set %s by netlink: %w", k, errors.ErrUnsupported)
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(iface)))
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
	conf.AddRtAttr(id, nl.Uint32Attr(uint32(int32(n))))
	req.AddData(spec)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
