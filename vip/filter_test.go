package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// filtering is a machine with our table.
func filtering(s Snapshot, whole bool, addrs ...string) Snapshot {
	s.Filter = &Filter{Whole: whole}
	for _, a := range addrs {
		s.Filter.Addresses = append(s.Filter.Addresses, netip.MustParseAddr(a))
	}
	return s
}

func refusing(addrs ...string) State {
	s := want(addrs...)
	s.NoAccept = true
	return s
}

// brief leaves out what is the same in every table.
func brief(commands []string) string {
	for i, c := range commands {
		if _, sets, ok := strings.Cut(c, "add table inet lvskit-vip-86 { "); ok {
			sets, _, _ = strings.Cut(sets, " chain")
			commands[i] = "nft " + sets
			if strings.HasPrefix(c, "nft 'add table inet lvskit-vip-86; delete table inet lvskit-vip-86; add") {
				commands[i] = "anew " + commands[i]
			}
		}
	}
	return strings.Join(commands, "\n")
}

func TestPlanOfAFilter(t *testing.T) {
	none := machine()
	none.unfiltered = fmt.Errorf("no nf_tables: %w", errors.ErrUnsupported)
	const (
		empty = "set v4 { type ipv4_addr; }; set v6 { type ipv6_addr; };"
		one   = "nft set v4 { type ipv4_addr; elements = { 10.0.0.1 }; }; set v6 { type ipv6_addr; };"
	)
	tests := []struct {
		name string
		have Snapshot
		want State
		plan string
		err  error
	}{
		{"before the first address", machine(), refusing("fd00::1@eth0", "10.0.0.2@eth0", "10.0.0.1@eth0", "10.0.0.1@lo"), "nft set v4 { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }; set v6 { type ipv6_addr; elements = { fd00::1 }; };\n" +
			"ip address add fd00::1/128 dev eth0 nodad preferred_lft 0\nip address add 10.0.0.2/32 dev eth0\nip address add 10.0.0.1/32 dev eth0\nip address add 10.0.0.1/32 dev lo", nil},
		{"no address, no table", machine(), State{NoAccept: true}, "", nil},
		{"as it is", filtering(machine("ours 10.0.0.1/32 eth0"), true, "10.0.0.1"), refusing("10.0.0.1@eth0"), "", nil},
		{"somebody has changed it", filtering(machine("ours 10.0.0.1/32 eth0"), false, "10.0.0.1"), refusing("10.0.0.1@eth0"), "anew " + one, nil},
		{"after the last address", filtering(machine("ours 10.0.0.1/32 eth0"), true, "10.0.0.1"), State{}, "ip address del 10.0.0.1/32 dev eth0\nnft delete table inet lvskit-vip-86", nil},
		{"both families", filtering(machine(), true, "10.0.0.1"), refusing("10.0.0.2@lo", "fd00::1@lo"), "nft 'add element inet lvskit-vip-86 v4 { 10.0.0.2 }; add element inet lvskit-vip-86 v6 { fd00::1 }'\n" +
			"ip address add 10.0.0.2/32 dev lo\nip address add fd00::1/128 dev lo nodad preferred_lft 0\nnft 'delete element inet lvskit-vip-86 v4 { 10.0.0.1 }'", nil},
		{"an empty table", filtering(machine(), false), State{}, "nft delete table inet lvskit-vip-86", nil},
		{"another address", filtering(machine("ours 10.0.0.1/32 eth0"), true, "10.0.0.1"), refusing("10.0.0.2@eth0"), "nft 'add element inet lvskit-vip-86 v4 { 10.0.0.2 }'\n" +
			"ip address add 10.0.0.2/32 dev eth0\nip address del 10.0.0.1/32 dev eth0\nnft 'delete element inet lvskit-vip-86 v4 { 10.0.0.1 }'", nil},
		{"fewer addresses", filtering(machine("ours 10.0.0.1/32 eth0", "ours fd00::1/128 lo"), true, "10.0.0.1", "fd00::1"), refusing("10.0.0.1@eth0"), "ip address del fd00::1/128 dev lo\nnft 'delete element inet lvskit-vip-86 v6 { fd00::1 }'", nil},
		{"to accept is no matter of the address", filtering(machine("ours 10.0.0.1/32 eth0"), true, "10.0.0.1"), want("10.0.0.1@eth0"), "nft delete table inet lvskit-vip-86", nil},
		{"no address where packets cannot be refused", none, refusing("10.0.0.1@eth0"), "", errors.ErrUnsupported},
		{"who accepts needs no table", none, want("10.0.0.1@eth0"), "ip address add 10.0.0.1/32 dev eth0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := Plan(tt.have, tt.want)
			if got := brief(commands(changes)); got != tt.plan {
				t.Errorf("plan:\n%s\nwant:\n%s", got, tt.plan)
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("err = %v, want %v", err, tt.err)
			}
		})
	}
	if got := (Filter{}).command(86, true); !strings.Contains(got, empty) {
		t.Errorf("empty: %s", got)
	}
}

func TestPlanOfAFilterBesideOthers(t *testing.T) {
	a, b := refusing("10.0.0.1@eth0").normal(), refusing("10.0.0.2@eth0").normal()
	both := filtering(machine("ours 10.0.0.1/32 eth0", "ours 10.0.0.2/32 eth0"), true, "10.0.0.1", "10.0.0.2")
	none := machine("ours 10.0.0.2/32 eth0")
	none.unfiltered = errors.ErrUnsupported
	for _, tt := range []struct {
		name string
		have Snapshot
		want State
		plan string
	}{
		{"the other's stays", both, State{}, "ip address del 10.0.0.1/32 dev eth0\nnft 'delete element inet lvskit-vip-86 v4 { 10.0.0.1 }'"},
		{"nothing to do", both, a, ""},
		{"the other's is not looked after", machine("ours 10.0.0.2/32 eth0"), want("10.0.0.3@eth0"), "ip address add 10.0.0.3/32 dev eth0"},
		{"the other's lack is not ours", none, want("10.0.0.3@eth0"), "ip address add 10.0.0.3/32 dev eth0"},
		{"both", machine("ours 10.0.0.2/32 eth0"), a, "nft set v4 { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }; set v6 { type ipv6_addr; };\nip address add 10.0.0.1/32 dev eth0"},
	} {
		changes, errs := plan(tt.have, tt.want, claim(b))
		if got := brief(commands(changes)); got != tt.plan || len(errs) > 0 {
			t.Errorf("%s:\n%s\nwant:\n%s\n%v", tt.name, got, tt.plan, errs)
		}
	}
	union, errs := plan(machine(), union([]State{a, want("10.0.0.3@eth0").normal()}), claims{own: refused(a)})
	if got := brief(commands(union)); !strings.HasPrefix(got, "nft set v4 { type ipv4_addr; elements = { 10.0.0.1 }; };") || len(errs) > 0 {
		t.Errorf("a union: %s, %v", got, errs)
	}
	if clash(want("10.0.0.1@lo").normal(), a, "a") == nil || clash(refusing("10.0.0.1@lo").normal(), a, "a") != nil {
		t.Error("an IP is accepted or not, on whatever interface")
	}
}
