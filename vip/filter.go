package vip

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Filter is the table of nftables that keeps packets to addresses from being
// delivered, see State.NoAccept. It is named after the mark, such as "inet
// lvskit-vip-86", and by that name it is ours.
type Filter struct {
	// Addresses are those whose packets are dropped, in their order, each once.
	Addresses []netip.Addr
	// Whole is false if somebody has changed the table. Of a Change it is true.
	Whole bool
}

// Of the table. Its chain comes before those of others, which so neither count
// nor log what is dropped; to drop is final, whatever they say.
const (
	filterPrefix   = "lvskit-vip-"
	filterChain    = "input"
	filterPriority = -500
	filterV4       = "v4" // its sets
	filterV6       = "v6"
)

// Neighbour discovery is ICMPv6 from router solicitations to redirects.
const (
	firstDiscovery = 133
	lastDiscovery  = 137
)

func filterName(mark uint8) string { return filterPrefix + strconv.Itoa(int(mark)) }

func filterObject(mark uint8) string { return "table inet " + filterName(mark) }

// family are the addresses of one family.
func (f Filter) family(is func(netip.Addr) bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(f.Addresses), func(a netip.Addr) bool { return !is(a) })
}

// command makes the table in one transaction, whatever there was of it unless it
// is fresh.
func (f Filter) command(mark uint8, fresh bool) string {
	table := filterObject(mark)
	before := fmt.Sprintf("add %s; delete %s; ", table, table)
	if fresh {
		before = ""
	}
	return fmt.Sprintf("nft '%sadd %s { set %s { %s; }; set %s { %s; }; chain %s { type filter hook input priority %d; "+
		"ip daddr @%s drop; ip6 daddr @%s icmpv6 type %d-%d accept; ip6 daddr @%s drop; }; }'",
		before, table,
		filterV4, elements("ipv4_addr", f.family(netip.Addr.Is4)), filterV6, elements("ipv6_addr", f.family(netip.Addr.Is6)),
		filterChain, filterPriority, filterV4, filterV6, firstDiscovery, lastDiscovery, filterV6)
}

func elements(kind string, addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "type " + kind
	}
	return "type " + kind + "; elements = " + braces(addrs)
}

func braces(addrs []netip.Addr) string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// editing is the command that adds addresses to the table's sets, or deletes them.
func editing(verb string, addrs []netip.Addr, mark uint8) string {
	var list []string
	f := Filter{Addresses: addrs}
	for _, set := range []struct {
		name  string
		addrs []netip.Addr
	}{{filterV4, f.family(netip.Addr.Is4)}, {filterV6, f.family(netip.Addr.Is6)}} {
		if len(set.addrs) > 0 {
			list = append(list, fmt.Sprintf("%s element inet %s %s %s", verb, filterName(mark), set.name, braces(set.addrs)))
		}
	}
	return "nft '" + strings.Join(list, "; ") + "'"
}

// refused are the addresses of normal states whose packets are dropped, in their
// order, each once.
func refused(states ...State) []netip.Addr {
	var list []netip.Addr
	for _, s := range states {
		if !s.NoAccept {
			continue
		}
		for _, a := range s.Addresses {
			list = append(list, a.Addr)
		}
	}
	return inOrder(list)
}

func inOrder(list []netip.Addr) []netip.Addr {
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// filter plans the table: with what is to be refused, and what is refused already,
// before the first address comes; with no more than that when the last one that
// goes has gone. What other sets refuse stays, and is not looked after here.
func (p *planner) filter() {
	own := inOrder(slices.Concat(refused(p.want), p.others.own))
	if p.have.unfiltered != nil {
		if p.bare = own; len(own) > 0 {
			p.fail(AddFilter.String(), filterObject(p.have.Mark), p.have.unfiltered)
		}
		return
	}
	have := Filter{}
	if p.have.Filter != nil {
		have = *p.have.Filter
	}
	wanted := inOrder(slices.Concat(own, p.others.refused))
	if len(own) > 0 && (!have.Whole || len(except(own, have.Addresses)) > 0) {
		c := Change{Op: AddFilter, Filter: Filter{inOrder(slices.Concat(wanted, have.Addresses)), true}}
		c.fresh = p.have.Filter == nil
		if have.Whole {
			c.differs = except(wanted, have.Addresses)
		}
		have = c.Filter
		p.do(stepFilter, c)
	}
	rest := except(have.Addresses, wanted)
	switch {
	case p.have.Filter != nil && len(wanted) == 0:
		p.do(stepUnfilter, Change{Op: DeleteFilter})
	case len(rest) > 0:
		p.do(stepUnfilter, Change{Op: ReduceFilter, Filter: Filter{wanted, true}, differs: rest})
	}
}

// except are those that are not among others, which are in order.
func except(list, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool {
		_, ok := slices.BinarySearchFunc(others, a, netip.Addr.Compare)
		return ok
	})
}

// tables says whether nftables is asked for our table.
type tables uint8

const (
	tablesNo      tables = iota
	tablesIfThere        // unless that would load the module for nothing
	tablesWanted
)
