package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvskit/lvskit/nat"
)

// interfaces wants the interfaces of the flags to be there.
func (c config) interfaces() error {
	for _, f := range []struct{ flag, name string }{{"-inside-interface", c.insideInterface}, {"-outside-interface", c.outsideInterface}} {
		if f.name == "" {
			continue
		}
		if names := interfaceNames(); !slices.Contains(names, f.name) {
			return fmt.Errorf("%s %s: no such interface: there are %s", f.flag, f.name, strings.Join(names, ", "))
		}
	}
	return nil
}

func interfaceNames() (names []string) {
	all, _ := net.Interfaces()
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// doubts are what may be right, because interfaces come and go, and addresses may
// be routed here without being here, but is a mistake more often.
func (c config) doubts(rules []nat.Rule) (doubts []error) {
	names := interfaceNames()
	addrs, _ := net.InterfaceAddrs()
	here := func(a netip.Addr) bool {
		return slices.ContainsFunc(addrs, func(n net.Addr) bool { return strings.HasPrefix(n.String(), a.String()+"/") })
	}
	said := map[string]bool{}
	doubt := func(format string, args ...any) {
		if err := fmt.Errorf(format, args...); !said[err.Error()] {
			said[err.Error()] = true
			doubts = append(doubts, err)
		}
	}
	for _, r := range rules {
		for _, name := range []string{r.In, r.Out} {
			if name != "" && !slices.Contains(names, name) {
				doubt("warning: there is no interface %s yet (%s)", name, r)
			}
		}
		outside := r.To
		if r.Action == nat.DNAT {
			outside = r.Destination.Addr()
		}
		if outside.IsValid() && (r.Action == nat.SNAT || r.Destination.IsSingleIP()) && !here(outside) {
			doubt("warning: %s is no address of this machine: packets for it must be routed here (%s)", outside, r)
		}
	}
	return doubts
}
