package vip

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// settleTime is how long an address may take to become local. It takes well
// below a millisecond where the machine is not busy.
const settleTime = time.Second

// settle waits until packets for the added IPv6 addresses are local. The kernel
// lists an address before: the route comes from a work queue
// (net/ipv6/addrconf.c, addrconf_dad_work), and what arrives until then is
// dropped or, on a director that forwards, sent away again.
func (k *kernel) settle(done []Change) error {
	var errs []error
	deadline := time.Now().Add(settleTime)
	for _, c := range done {
		link := k.have.link(c.Address.Interface)
		if c.Op != AddAddress || !c.Address.Addr.Is6() || link == nil || !link.Up {
			continue
		}
		for !k.isLocal(c.Address) {
			if time.Now().After(deadline) {
				errs = append(errs, opError("verify", c.Address.object(), errors.New("the kernel has it and does not take packets for it yet")))
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	return errors.Join(errs...)
}

// isLocal asks the kernel where it would send a packet to the address.
func (k *kernel) isLocal(a Address) bool {
	head := nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Dst_len: 128}}
	msgs, err := k.request(unix.RTM_GETROUTE, 0, &head, nl.NewRtAttr(unix.RTA_DST, a.Addr.AsSlice())).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	return err == nil && len(msgs) > 0 && len(msgs[0]) >= unix.SizeofRtMsg && nl.DeserializeRtMsg(msgs[0]).Type == unix.RTN_LOCAL
}
