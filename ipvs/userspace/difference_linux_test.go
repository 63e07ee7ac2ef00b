package userspace

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// kernelTable is the kernel's table in an empty network namespace, at path.
func kernelTable(t testing.TB) (c *ipvs.Client, path string) {
	t.Helper()
	need.Root(t)
	need.IPVS(t)
	need.Module(t, "ip_vs_lblc", "ip_vs_lblcr") // see type ipvs.Scheduler
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	err = netns.Do(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err = ipvs.Open(ipvs.Config{NetNS: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, path
}

// TestDifferenceFromTheKernel asks the kernel and an Engine the same. Each run is
// another sequence: -count 34 makes more than 100,000 operations.
func TestDifferenceFromTheKernel(t *testing.T) {
	c, _ := kernelTable(t)
	e := tableOnly(t)
	timeouts, err := c.Timeouts(context.Background()) // those of the kernel's configuration
	if err == nil {
		err = e.SetTimeouts(context.Background(), timeouts)
	}
	if err != nil {
		t.Fatal(err)
	}
	difference(t, c, e, 3000)
}
