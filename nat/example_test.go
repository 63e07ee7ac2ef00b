package nat_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvskit/lvskit/nat"
)

// firewall is a gateway with the inside network 192.168.160.0/24, the outside
// address 12.0.0.1 on ens36, and one published port.
var firewall = []nat.Rule{
	{
		Action: nat.SNAT, Source: netip.MustParsePrefix("192.168.160.0/24"), Out: "ens36",
		To: netip.MustParseAddr("12.0.0.1"),
	},
	{
		Action: nat.DNAT, Protocol: nat.TCP,
		Destination: netip.MustParsePrefix("12.0.0.1/32"), DestinationPort: nat.Port(3344),
		To: netip.MustParseAddr("192.168.160.100"),
	},
}

// A gateway for as long as the program runs: what others remove comes back, and in
// the end nothing is left. The machine must forward: see the package sysctl.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	table, err := nat.Open(nat.Config{Name: "firewall", Logger: slog.Default()})
	if err != nil {
		slog.Error("open", "err", err)
		return
	}
	defer table.Close()
	if _, err := table.Apply(ctx, firewall); err != nil {
		slog.Error("apply", "err", err) // nothing is changed
		return
	}
	if err := table.Run(ctx); err != nil && ctx.Err() == nil {
		slog.Error("keep the rules", "err", err)
	}
	if err := table.Clear(context.WithoutCancel(ctx)); err != nil {
		slog.Error("clear", "err", err)
	}
}

// What it takes to come from the rules that there are to those that are wanted:
// here the published port moves to another server, and the rest stays.
func ExamplePlan() {
	want := []nat.Rule{firewall[0], firewall[1]}
	want[1].To = netip.MustParseAddr("192.168.160.101")
	for _, have := range [][]nat.Rule{nil, firewall, want} {
		changes, err := nat.Plan(have, want)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(changes), "changes")
		for _, c := range changes {
			fmt.Println(c)
		}
	}
	// Output:
	// 2 changes
	// + snat: source 192.168.160.0/24 out ens36 to 12.0.0.1
	// + dnat: tcp destination 12.0.0.1:3344 to 192.168.160.101
	// 2 changes
	// - dnat: tcp destination 12.0.0.1:3344 to 192.168.160.100
	// + dnat: tcp destination 12.0.0.1:3344 to 192.168.160.101
	// 0 changes
}

// Rules that cannot be are found before anything is touched.
func ExamplePlan_invalid() {
	twice := append(firewall, nat.Rule{
		Name: "ssh", Action: nat.DNAT, Protocol: nat.TCP,
		Destination: netip.MustParsePrefix("12.0.0.1/32"), DestinationPort: nat.Port(3344),
		To: netip.MustParseAddr("192.168.160.7"), ToPort: nat.Port(22),
	})
	_, err := nat.Plan(nil, twice)
	fmt.Println(err)
	// Output:
	// nat: validate dnat ssh: tcp destination 12.0.0.1:3344 to 192.168.160.7:22: it publishes what another rule publishes (dnat: tcp destination 12.0.0.1:3344 to 192.168.160.100)
}

// A rule is one line of text, in a file of configuration or on a command line.
func ExampleParseRule() {
	r, err := nat.ParseRule("dnat web: tcp destination 12.0.0.1:80 to 192.168.160.100:8080 hairpin 192.168.160.0/24")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Name, r.Action, r.Protocol, r.Destination.Addr(), r.DestinationPort, r.To, r.ToPort)

	_, err = nat.ParseRule("masquerade: source 192.168.160.100/24 out ens36")
	fmt.Println(err)
	// Output:
	// web dnat tcp 12.0.0.1 80 192.168.160.100 8080
	// nat: parse "masquerade: source 192.168.160.100/24 out ens36": 192.168.160.100/24 has bits behind its length: did you mean 192.168.160.0/24, or 192.168.160.100/32?
}

// The string of a rule is what ParseRule reads. Ranges of the same length are
// shifted, port by port.
func ExampleRule_String() {
	fmt.Println(nat.Rule{
		Name: "games", Action: nat.DNAT, Protocol: nat.UDP,
		Destination: netip.MustParsePrefix("2001:db8::1/128"), DestinationPort: nat.Ports{First: 27000, Last: 27099},
		To: netip.MustParseAddr("fd00::100"), ToPort: nat.Ports{First: 7000, Last: 7099},
	})
	fmt.Println(nat.Rule{Action: nat.Masquerade, Family: nat.IPv4, Out: "ppp0", Random: true})
	// Output:
	// dnat games: udp destination [2001:db8::1]:27000-27099 to [fd00::100]:7000-7099
	// masquerade: ipv4 out ppp0 random
}

// Exact rules cost a connection the same, however many there are; the others are
// tried one after the other.
func ExampleRule_Exact() {
	for _, text := range []string{
		"dnat: tcp destination 12.0.0.1:80 to 192.168.160.100",
		"dnat: tcp destination 12.0.0.1:8000-8099 to 192.168.160.100:9000-9099",
		"dnat: tcp destination 12.0.0.1:8000-8099 to 192.168.160.100",
		"dnat: tcp in ens36 destination 12.0.0.1:80 to 192.168.160.100",
	} {
		r, err := nat.ParseRule(text)
		fmt.Println(r.Exact(), err)
	}
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// false <nil>
}

// One rule more, and one less, in a table that has many.
func ExampleTable_Add() {
	ctx := context.Background()
	table, err := nat.Open(nat.Config{})
	if err != nil {
		slog.Error("open", "err", err)
		return
	}
	defer table.Close()
	if err := table.Add(ctx, firewall[1]); err != nil { // fs.ErrExist: it is there
		slog.Error("add", "err", err)
	}
	if err := table.Remove(ctx, firewall[1]); err != nil { // fs.ErrNotExist: it is not
		slog.Error("remove", "err", err)
	}
}

// What the rules have done: each connection counts by its first packet.
func ExampleTable_List() {
	table, err := nat.Open(nat.Config{})
	if err != nil {
		slog.Error("open", "err", err)
		return
	}
	defer table.Close()
	rules, err := table.List(context.Background())
	if err != nil {
		slog.Error("list", "err", err)
		return
	}
	for _, r := range rules {
		fmt.Println(r.Packets, r.Rule)
	}
}
