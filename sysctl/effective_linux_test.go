package sysctl

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/netns"
)

// The kernel drops a packet exactly where Effective says that the filter is
// strict: for all pairs of "all" and interface.
func TestEffectiveIsWhatTheKernelDoes(t *testing.T) {
	here := newNS(t, [2]string{"eth0", "eth1"}, [2]string{"eth2", "eth3"})
	there := newNS(t)
	// eth1 goes over to the other side. The spoofed source is routed by eth2.
	spoofed, honest := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.2")
	move(t, here, there, "eth1")
	setup(t, here, "eth0", "192.0.2.1/24")
	setup(t, here, "eth2", "198.51.100.2/24")
	setup(t, here, "eth3")
	setup(t, there, "eth1", honest.String()+"/24", spoofed.String()+"/32")

	var in, out *net.UDPConn
	c := newClient(t, Config{NetNS: here})
	listen := func(ns string, addr string) (conn *net.UDPConn) {
		err := netns.Do(ns, func() (err error) {
			conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	in = listen(here, "192.0.2.1:7")
	out = listen(there, spoofed.String()+":7")
	control := listen(there, honest.String()+":7")
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:7"))
	for all := range 3 {
		for own := range 3 {
			poke(t, here, fmt.Sprintf("conf/all/rp_filter=%d conf/eth0/rp_filter=%d", all, own))
			k := IPv4Conf("eth0", "rp_filter")
			effective, _ := Effective(peek(t, c, k, IPv4Conf("all", "rp_filter")), k)
			for _, conn := range []*net.UDPConn{out, control} {
				if _, err := conn.WriteTo([]byte("x"), to); err != nil {
					t.Fatal(err)
				}
			}
			// What comes first tells: the honest packet is always the second.
			var first netip.AddrPort
			for b := make([]byte, 1); ; {
				if err := in.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, from, err := in.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatal(err)
				}
				if !first.IsValid() {
					first = from
				}
				if from.Addr() == honest {
					break
				}
			}
			if dropped := first.Addr() == honest; dropped != (effective == "1") {
				t.Errorf("all=%d eth0=%d: Effective says %s, and the kernel dropped it: %v", all, own, effective, dropped)
			}
		}
	}
}

func move(t *testing.T, from, to, name string) {
	t.Helper()
	err := netns.Do(from, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		ns, err := os.Open(to)
		if err != nil {
			return err
		}
		defer ns.Close()
		return netlink.LinkSetNsFd(l, int(ns.Fd()))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T, ns, name string, addrs ...string) {
	t.Helper()
	err := netns.Do(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(l, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(l)
	})
	if err != nil {
		t.Fatal(err)
	}
}
