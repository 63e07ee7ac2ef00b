package sysctl_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lvskit/lvskit/sysctl"
)

// The settings of a NAT director on a machine that has the kernel's defaults.
// Plan alone is the dry run.
func ExamplePlan() {
	want := sysctl.DirectorNAT(sysctl.Director{Interfaces: []string{"eth0"}})
	have := sysctl.Values{
		sysctl.IPv4("ip_forward"):                 "0",
		sysctl.IPv4Conf("eth0", "forwarding"):     "0",
		sysctl.IPv4Conf("all", "send_redirects"):  "1",
		sysctl.IPv4Conf("eth0", "send_redirects"): "1",
		sysctl.IPv4Conf("all", "rp_filter"):       "1",
		sysctl.IPv4Conf("eth0", "rp_filter"):      "0",
	}
	changes, err := sysctl.Plan(have, want)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range changes {
		fmt.Println(c)
	}
	// Output:
	// sysctl -w net/ipv4/ip_forward=1
	// sysctl -w net/ipv4/conf/all/send_redirects=0
	// sysctl -w net/ipv4/conf/eth0/send_redirects=0
	// sysctl -w net/ipv4/conf/eth0/rp_filter=2
}

// A real server for direct routing, for as long as the program runs. What a
// run that was killed has left is put back by the next one.
func ExampleClient_Apply() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := sysctl.New(sysctl.Config{Record: "/run/realserver/sysctl.json", Logger: slog.Default()})
	if err != nil {
		slog.Error("configure", "err", err)
		return
	}
	if _, err := c.Apply(ctx, sysctl.RealServerDR("eth0")); err != nil {
		slog.Error("apply", "err", err) // what was done up to here is in the record
	} else {
		<-ctx.Done()
	}
	ctx = context.WithoutCancel(ctx)
	changes, err := c.Recorded(ctx)
	if err == nil {
		_, _, err = c.Restore(ctx, changes)
	}
	if err != nil {
		slog.Error("restore", "err", err)
	}
}

// A doctor: what an interface does depends on "all" as well.
func ExampleCheck() {
	have := sysctl.Values{
		sysctl.IPv4Conf("all", "send_redirects"):  "1",
		sysctl.IPv4Conf("eth0", "send_redirects"): "0",
	}
	findings, err := sysctl.Check(have, []sysctl.Setting{{
		Key: sysctl.IPv4Conf("eth0", "send_redirects"), Want: sysctl.Exactly(0),
		Reason: "clients must not learn the way to a real server",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	// Output:
	// net/ipv4/conf/eth0/send_redirects is 1, wanted 0 (because of net/ipv4/conf/all/send_redirects: on if all or interface is): clients must not learn the way to a real server
}

// The same settings for the next boot.
func ExampleFormat() {
	file, err := sysctl.Format(sysctl.RealServerDR("eth0.100"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", file)
	// Output:
	// # ARP requests for the virtual address are left to the director
	// net/ipv4/conf/eth0.100/arp_ignore = 1
	//
	// # own ARP requests never carry the virtual address as their source
	// net/ipv4/conf/eth0.100/arp_announce = 2
}

func ExampleParse() {
	lines, err := sysctl.Parse(strings.NewReader("# a router\nnet.ipv4.ip_forward = 1\n-net/ipv4/vs/conntrack = 1\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range lines {
		fmt.Println(l.Number, l.Key, l.Value, l.IgnoreErrors)
	}
	// Output:
	// 2 net/ipv4/ip_forward 1 false
	// 3 net/ipv4/vs/conntrack 1 true
}

// Two roles that cannot be had at once.
func ExampleMerge() {
	_, err := sysctl.Merge(
		[]sysctl.Setting{{Key: sysctl.IPv4("ip_forward"), Want: sysctl.Exactly(1), Reason: "a gateway forwards"}},
		[]sysctl.Setting{{Key: sysctl.IPv4("ip_forward"), Want: sysctl.Exactly(0), Reason: "a host does not"}},
	)
	fmt.Println(err)
	// Output:
	// sysctl: merge: conflicting settings: net/ipv4/ip_forward is wanted 1 (a gateway forwards) and 0 (a host does not)
}
