package main

import (
	"strings"
	"testing"

	"github.com/lvskit/lvskit/vip"
)

func TestModesBecomeAState(t *testing.T) {
	dr, err := parse(strings.Fields("-vip 192.168.247.188 -vip 2001:db8::188 -interface eth1"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(dr.state.Addresses) != 2 || dr.state.Addresses[0].Interface != "lo" || len(dr.state.SuppressARP) != 1 || dr.state.SuppressARP[0] != "eth1" {
		t.Errorf("direct routing is %+v", dr.state)
	}
	tun, err := parse(strings.Fields("-mode tun -vip 192.168.247.188 -local 10.0.0.1 -tunnel gre"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(tun.state.Tunnels) != 1 || tun.state.Tunnels[0].Kind != vip.GRE || tun.state.Addresses[0].Interface != "lvs0" {
		t.Errorf("a tunnel is %+v", tun.state)
	}
}

func TestWrongFlagsAreRefusedInWords(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"no address", "", "give -vip"},
		{"a mode that needs no program", "-mode nat -vip 10.0.0.1", "want dr or tun"},
		{"an address that is none", "-vip 10.0.0.256", "invalid value"},
		{"a tunnel without its own address", "-mode tun -vip 10.0.0.1", "Local"},
		{"a port that is none", "-mode tun -vip 10.0.0.1 -local 10.0.0.2 -gue 65536", "not a port"},
		{"an interface that is a path", "-vip 10.0.0.1 -interface ../eth0", "eth0"},
		{"a word too many", "-vip 10.0.0.1 now", "unexpected argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(strings.Fields(tt.args), t.Output())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q answered %v, want an error with %q", tt.args, err, tt.want)
			}
		})
	}
}
