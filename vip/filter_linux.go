package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// mostElements bounds one message, whose list of elements may have 64 KiB.
const mostElements = 1000

// tableLine is a netlink socket to nftables in the Manager's network namespace.
// It is kept like a line: closing it waits until what was deleted is freed, which
// takes the kernel some 10 ms.
type tableLine struct {
	conn *nftables.Conn
	sock *netlink.Conn
}

func openTables() (*tableLine, error) {
	l := &tableLine{}
	var err error
	l.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(s *netlink.Conn) error {
		l.sock = s
		return nil
	}))
	return l, err
}

// nft calls fn with nftables, in the namespace of the calling thread.
func (k *kernel) nft(fn func(*nftables.Conn, *nftables.Table) error) (err error) {
	l := k.lines.takeTables()
	if l == nil {
		if l, err = openTables(); err != nil {
			return nftWords(err)
		}
	}
	if err = l.sock.SetDeadline(time.Now().Add(10 * time.Second)); err == nil {
		err = fn(l.conn, &nftables.Table{Name: filterName(k.mark), Family: nftables.TableFamilyINet})
	}
	k.lines.giveTables(l, err == nil)
	return nftWords(err)
}

func (p *lines) takeTables() *tableLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.tables
	p.tables = nil
	return l
}

// giveTables keeps a line to which all has been answered, else closes it.
func (p *lines) giveTables(l *tableLine, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok || !p.open || p.tables != nil {
		l.conn.CloseLasting()
		return
	}
	p.tables = l
}

// nftWords says what an errno of nftables means here. Without the module there is
// nobody to ask, or an invalid question.
func nftWords(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it takes CAP_NET_ADMIN in this network namespace: %w", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("this kernel has no nf_tables for inet: modprobe nf_tables, or leave State.NoAccept unset (%w, %w)", errors.ErrUnsupported, err)
	}
	return err
}

// readFilter reads our table. That it cannot be read matters to who wants it.
func (k *kernel) readFilter() {
	if k.tables == tablesNo || k.tables == tablesIfThere && unloaded() {
		return
	}
	err := k.nft(func(c *nftables.Conn, t *nftables.Table) error {
		_, err := c.ListTableOfFamily(t.Name, t.Family)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err == nil {
			k.have.Filter = filterOf(c, t)
		}
		return err
	})
	if k.have.unfiltered = err; err != nil {
		k.log.Debug("nftables cannot be read", "err", err)
	}
}

// unloaded tells whether nf_tables is a module that is not loaded, as far as can
// be seen: the question for a table would load it.
func unloaded() bool {
	if _, err := os.Stat("/sys/module/nf_tables"); err == nil {
		return false
	}
	if _, err := os.Stat("/sys/module"); err != nil {
		return false
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	builtin, err := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "modules.builtin"))
	return err == nil && !strings.Contains(string(builtin), "/nf_tables.ko")
}

// filterOf reads a table that is there. What it should have and has not makes it
// less than whole.
func filterOf(c *nftables.Conn, t *nftables.Table) *Filter {
	f := &Filter{Whole: true}
	sets := filterSets(t)
	for _, set := range sets {
		elements, err := c.GetSetElements(set)
		f.Whole = f.Whole && err == nil
		for _, e := range elements {
			addr, ok := netip.AddrFromSlice(e.Key)
			f.Whole = f.Whole && ok
			f.Addresses = append(f.Addresses, addr)
		}
	}
	f.Addresses = inOrder(f.Addresses)
	want := filterChainOf(t)
	have, err := c.ListChain(t, filterChain)
	if err != nil || have.Type != want.Type || have.Hooknum == nil || *have.Hooknum != *want.Hooknum ||
		have.Priority == nil || *have.Priority != *want.Priority || have.Policy == nil || *have.Policy != *want.Policy {
		f.Whole = false
		return f
	}
	rules, err := c.GetRules(t, have)
	f.Whole = f.Whole && err == nil && slices.EqualFunc(rules, filterRules(sets), func(a *nftables.Rule, b []expr.Any) bool {
		return len(a.Exprs) == len(b)
	})
	return f
}

// filterSets are the sets of the table, for IPv4 and IPv6. Their numbers are
// unique in one message; the library's own are not safe for several goroutines.
func filterSets(t *nftables.Table) [2]*nftables.Set {
	return [2]*nftables.Set{
		{Table: t, ID: 1, Name: filterV4, KeyType: nftables.TypeIPAddr},
		{Table: t, ID: 2, Name: filterV6, KeyType: nftables.TypeIP6Addr},
	}
}

func filterChainOf(t *nftables.Table) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: filterChain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput,
		Priority: nftables.ChainPriorityRef(filterPriority), Policy: &accept,
	}
}

// filterRules are the rules as Filter.command has them.
func filterRules(sets [2]*nftables.Set) [][]expr.Any {
	to := func(proto byte, offset, size uint32, set *nftables.Set, then ...expr.Any) []expr.Any {
		return append([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		}, then...)
	}
	to6 := func(then ...expr.Any) []expr.Any { return to(unix.NFPROTO_IPV6, 24, 16, sets[1], then...) }
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	return [][]expr.Any{
		to(unix.NFPROTO_IPV4, 16, 4, sets[0], drop),
		to6(
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
			&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{firstDiscovery}},
			&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{lastDiscovery}},
			&expr.Verdict{Kind: expr.VerdictAccept},
		),
		to6(drop),
	}
}

// changeFilter adds addresses to the table or takes some from it. A table that is
// not as it was read, or never was there, is made anew.
func (k *kernel) changeFilter(c Change) error {
	if c.differs != nil {
		err := k.editFilter(c.Op == AddFilter, Filter{Addresses: c.differs})
		if err == nil || !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return k.setFilter(c.Filter, !c.fresh)
}

// editFilter adds elements to the sets or deletes them.
func (k *kernel) editFilter(add bool, f Filter) error {
	return k.nft(func(c *nftables.Conn, t *nftables.Table) error {
		edit := c.SetDeleteElements
		if add {
			edit = c.SetAddElements
		}
		if err := f.fill(filterSets(t), edit); err != nil {
			return err
		}
		return c.Flush()
	})
}

// fill calls fn with the elements of each set, in portions.
func (f Filter) fill(sets [2]*nftables.Set, fn func(*nftables.Set, []nftables.SetElement) error) error {
	for i, addrs := range [2][]netip.Addr{f.family(netip.Addr.Is4), f.family(netip.Addr.Is6)} {
		for some := range slices.Chunk(addrs, mostElements) {
			var list []nftables.SetElement
			for _, a := range some {
				list = append(list, nftables.SetElement{Key: a.AsSlice()})
			}
			if err := fn(sets[i], list); err != nil {
				return err
			}
		}
	}
	return nil
}

// setFilter makes the table in one transaction, in place of what there was of it
// if it is to replace that.
func (k *kernel) setFilter(f Filter, replace bool) error {
	return k.nft(func(c *nftables.Conn, t *nftables.Table) error {
		c.AddTable(t)
		if replace {
			c.DelTable(t)
			c.AddTable(t)
		}
		sets := filterSets(t)
		for _, set := range sets {
			if err := c.AddSet(set, nil); err != nil {
				return err
			}
		}
		if err := f.fill(sets, c.SetAddElements); err != nil {
			return err
		}
		chain := c.AddChain(filterChainOf(t))
		for _, rule := range filterRules(sets) {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rule})
		}
		return c.Flush()
	})
}

// deleteFilter removes the table, if it is still there.
func (k *kernel) deleteFilter() error {
	err := k.nft(func(c *nftables.Conn, t *nftables.Table) error {
		c.DelTable(t)
		return c.Flush()
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
