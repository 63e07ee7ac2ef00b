package ipvs

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// newNamespace makes a network namespace of the test's own, with lo up: a
// namespace whose lo never was takes no destinations.
func newNamespace(t testing.TB) (path string) {
	t.Helper()
	ns, path := openTestNamespace(t)
	t.Cleanup(func() { ns.Close() })
	return path
}

func openTestNamespace(t testing.TB) (ns *os.File, path string) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
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
	return ns, path
}

// newClient opens a client in the namespace at path.
func newClient(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Open(Config{NetNS: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// kernel is a client in an empty table of its own.
func kernel(t testing.TB) (c *Client, path string) {
	t.Helper()
	need.Root(t)
	need.IPVS(t)
	need.Module(t, "ip_vs_lblc", "ip_vs_lblcr") // see type Scheduler
	path = newNamespace(t)
	return newClient(t, path), path
}

// ipvsadm runs ipvsadm in a namespace.
func ipvsadm(t testing.TB, path string, args ...string) string {
	t.Helper()
	need.Program(t, "ipvsadm")
	var out []byte
	err := netns.Do(path, func() (err error) {
		out, err = exec.Command("ipvsadm", args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("ipvsadm %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// addrPort and the like keep tests readable.
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func tcpID(s string) ServiceID { return ServiceID{Protocol: TCP, Addr: addrPort(s)} }

func viaMasq(s string, weight int) Destination {
	return Destination{Addr: addrPort(s), Forward: ForwardMasq, Weight: weight}
}

func viaRoute(s string, weight int) Destination {
	return Destination{Addr: addrPort(s), Weight: weight}
}

// services reads the table as a wanted state.
func services(t testing.TB, c *Client) []Service {
	t.Helper()
	list, err := c.Services(context.Background())
	must(t, err)
	var have []Service
	for _, s := range list {
		want := s.Service
		for _, d := range s.Destinations {
			want.Destinations = append(want.Destinations, d.Destination)
		}
		have = append(have, want)
	}
	return have
}
