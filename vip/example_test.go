package vip_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/vip"
)

// A director holds its virtual address until it is told to end.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	m, err := vip.New(vip.Config{OnEvent: func(e vip.Event) { log.Println(e) }})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Open(); err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	changes, err := m.Apply(ctx, vip.State{Addresses: []vip.Address{
		{Interface: "eth0", Addr: netip.MustParseAddr("192.168.247.188")},
	}})
	for _, c := range changes {
		fmt.Println(c) // ip address add 192.168.247.188/32 dev eth0
	}
	if err != nil {
		log.Print(err) // Run tries again
	}
	if err := m.Run(ctx); err != nil {
		log.Print(err)
	}
}

// Two routers share a Manager: each has a Set that is acquired, announced and
// released by itself, here as their election would do it.
func ExampleManager_Set() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	m, err := vip.New(vip.Config{Refresh: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	if err := m.Open(); err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	blue, err := m.Set("blue", vip.State{Addresses: []vip.Address{
		{Interface: "eth0", Addr: netip.MustParseAddr("192.168.247.188")},
	}})
	if err != nil {
		log.Fatal(err)
	}
	green, err := m.Set("green", vip.State{
		VirtualMACs: []vip.VirtualMAC{{Parent: "eth0", VRID: 52}}, // the device vrrp.52
		Addresses: []vip.Address{
			{Interface: "vrrp.52", Addr: netip.MustParseAddr("192.168.247.189")},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, set := range []*vip.Set{blue, green} {
		err := set.Release(ctx) // the first removes what a killed predecessor left
		if err == nil {
			err = set.Acquire(ctx)
		}
		if err == nil {
			err = set.Announce(ctx)
		}
		if err != nil {
			log.Print(err)
		}
	}
	if err := m.Run(ctx); err != nil { // repeats the announcements; releases all at its end
		log.Print(err)
	}
}

// The plan of a DR real server, as for a dry run. With a Manager, its Read
// gives the first argument.
func ExampleDirectRouting() {
	state := vip.DirectRouting([]netip.Addr{netip.MustParseAddr("192.168.247.188")}, "eth0")
	have := vip.Snapshot{Links: []vip.Link{
		{Index: 1, Name: "lo", Up: true},
		{Index: 2, Name: "eth0", Up: true, Conf: vip.Conf{vip.ARPIgnore: 0, vip.ARPAnnounce: 0}},
	}}
	changes, err := vip.Plan(have, state)
	for _, c := range changes {
		fmt.Println(c)
	}
	fmt.Println(err)
	// Output:
	// sysctl -w net/ipv4/conf/eth0/arp_ignore=1
	// sysctl -w net/ipv4/conf/eth0/arp_announce=2
	// ip address add 192.168.247.188/32 dev lo
	// <nil>
}

// The State of a TUN real server: IPv4 and IPv6 take a device each.
func ExampleTunneling() {
	tunnel := vip.Tunnel{Local: netip.MustParseAddr("192.168.247.135")}
	state := vip.Tunneling(tunnel, []netip.Addr{
		netip.MustParseAddr("192.168.247.188"),
		netip.MustParseAddr("fd00::188"),
	}, "eth0")
	for _, t := range state.Tunnels {
		fmt.Println(t.Name, t.Kind, t.Local)
	}
	for _, a := range state.Addresses {
		fmt.Println(a)
	}
	fmt.Println(state.SuppressARP)
	// Output:
	// lvs0 ipip 192.168.247.135
	// lvs0-6 sit 192.168.247.135
	// 192.168.247.188/32 dev lvs0
	// fd00::188/128 dev lvs0-6
	// [eth0]
}

// What is there and not ours is in the way, and stays.
func ExamplePlan() {
	vip4 := netip.MustParseAddr("192.168.247.188")
	have := vip.Snapshot{
		Links: []vip.Link{{Index: 2, Name: "eth0", Up: true}},
		Addresses: []vip.Present{
			{Address: vip.Address{Interface: "eth0", Addr: vip4, Bits: 24}, Index: 2},
		},
	}
	_, err := vip.Plan(have, vip.State{Addresses: []vip.Address{{Interface: "eth0", Addr: vip4}}})
	fmt.Println(err)
	// Output:
	// vip: add address 192.168.247.188/32 dev eth0: 192.168.247.188/24 is there already and not ours: file already exists
}
