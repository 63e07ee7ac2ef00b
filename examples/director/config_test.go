package main

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

func TestFlagsBecomeOneService(t *testing.T) {
	cfg, err := parse(strings.Fields("-vip [2001:db8::1]:53 -protocol udp -scheduler sh -forward tun -tunnel gue:6080 -persistence 2m -real [2001:db8::2]:53,0 -real 10.0.0.2:53"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.services[0]
	if want := (ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")}); s.ID != want || s.Scheduler != ipvs.SH || s.Persistence.Timeout != 2*time.Minute {
		t.Errorf("the service is %+v", s)
	}
	gue := ipvs.Tunnel{Type: ipvs.GUE, Port: 6080}
	for i, want := range []ipvs.Destination{
		{Addr: netip.MustParseAddrPort("[2001:db8::2]:53"), Forward: ipvs.ForwardTunnel, Tunnel: gue, Weight: 0},
		{Addr: netip.MustParseAddrPort("10.0.0.2:53"), Forward: ipvs.ForwardTunnel, Tunnel: gue, Weight: 1},
	} {
		if s.Destinations[i] != want {
			t.Errorf("real server %d is %+v, want %+v", i, s.Destinations[i], want)
		}
	}
}

func TestWrongFlagsAreRefusedInWords(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"no address", "", "no address"},
		{"an address without a port", "-vip 10.0.0.1", "invalid value"},
		{"port 0 without persistence", "-vip 10.0.0.1:0", "persistence"},
		{"an unknown mode", "-vip 10.0.0.1:80 -forward drr", "want dr, nat or tun"},
		{"another port by direct routing", "-vip 10.0.0.1:80 -real 10.0.0.2:81", "port"},
		{"a negative weight", "-vip 10.0.0.1:80 -real 10.0.0.2:80,-1", "weight"},
		{"a real server twice", "-vip 10.0.0.1:80 -real 10.0.0.2:80 -real 10.0.0.2:80", "twice"},
		{"a word too many", "-vip 10.0.0.1:80 now", "unexpected argument"},
		{"gue without a port", "-vip 10.0.0.1:80 -forward tun -tunnel gue -real 10.0.0.2:80", "port"},
		{"an interface that is a path", "-vip 10.0.0.1:80 -interface ../eth0", "eth0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(strings.Fields(tt.args), t.Output())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q answered %v, want an error with %q", tt.args, err, tt.want)
			}
		})
	}
}

func service(addr string) ipvs.Service {
	return ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(addr)}, Scheduler: ipvs.RR}
}

func TestOwnedServicesAreNotedBeforeAndForgottenAfter(t *testing.T) {
	o := &ownedServices{path: filepath.Join(t.TempDir(), "lvskit", "rules")}
	old, now := service("10.0.0.1:80"), service("10.0.0.2:80")
	owns := func(want ...ipvs.Service) {
		t.Helper()
		policy := o.policy()
		for _, s := range []ipvs.Service{old, now} {
			if got := policy.Owns(s.ID); got != contains(want, s.ID) {
				t.Errorf("owns %s: %v, want %v", s.ID, got, !got)
			}
		}
	}
	steps := []struct {
		do   func() error
		want []ipvs.Service
	}{
		{func() error { return nil }, nil},
		{func() error { return o.set([]ipvs.Service{old}) }, []ipvs.Service{old}},
		{func() error { return o.add([]ipvs.Service{now}) }, []ipvs.Service{old, now}},
		{func() error { return o.set([]ipvs.Service{now}) }, []ipvs.Service{now}},
		{func() error { return o.set(nil) }, nil},
		{func() error { return o.set(nil) }, nil},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		owns(step.want...)
	}
	if left, err := filepath.Glob(o.path + "*"); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
