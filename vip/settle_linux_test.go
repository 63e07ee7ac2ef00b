package vip

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// An IPv6 address is in the kernel's list before packets for it are local.
func TestAppliedAddressesAreLocalAtOnce(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	for i := range 100 {
		vip := fmt.Sprintf("fd00::%x", 0x100+i)
		h.apply(m, want(vip+"@eth0", fmt.Sprintf("10.1.0.%d@eth0", i+1)))
		err := netns.Do(h.path, func() error {
			for _, a := range m.Status().State.Addresses {
				routes, err := netlink.RouteGet(a.Addr.AsSlice())
				if err != nil {
					return err
				}
				if len(routes) != 1 || routes[0].Type != unix.RTN_LOCAL {
					t.Errorf("%d: the route to %s is %v", i, a.Addr, routes)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	h.release(m)
}
