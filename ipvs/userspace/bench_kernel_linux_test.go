package userspace

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// BenchmarkBesideKernel is the Engine beside the kernel's IPVS with address
// translation, both on the router between clients and real servers. The kernel
// forwards in soft interrupts, so that it has no process whose time could be
// read. "direct" is routed.
func BenchmarkBesideKernel(b *testing.B) {
	need.IPVS(b)
	r := routedRig(b)
	var board scoreboard
	r.race(b, &board, []string{"direct", "engine", "ipvs"})
	fmt.Print(board.String())
}

// routedRig is a client, a director and a host with real servers.
func routedRig(b *testing.B) *rig {
	b.Helper()
	l := labtest.New(b)
	front, back := labtest.Switch(b, l, "front"), labtest.Switch(b, l, "back")
	r := &rig{
		client: labtest.Host(b, l, "client"), director: labtest.Host(b, l, "director"), server: labtest.Host(b, l, "server"),
		vip: netip.MustParseAddr("10.0.0.1"), descriptors: descriptorLimit(b),
	}
	labtest.Connect(b, r.client, front, "10.0.0.2/24")
	labtest.Connect(b, r.director, front, "10.0.0.1/24")
	labtest.Connect(b, r.director, back, "10.1.0.1/24")
	addrs := []string{}
	for n := range 8 {
		addr := netip.AddrFrom4([4]byte{10, 1, 0, byte(n + 10)})
		r.servers = append(r.servers, addr)
		addrs = append(addrs, addr.String()+"/24")
	}
	labtest.Connect(b, r.server, back, addrs...)
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	for h, via := range map[*lab.Host]string{r.client: "10.0.0.1", r.server: "10.1.0.1"} {
		if err := h.Route(everywhere, netip.MustParseAddr(via)); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.director.Forward(); err != nil {
		b.Fatal(err)
	}
	r.prepare(b)
	return r
}
