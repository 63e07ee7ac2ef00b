package nat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
)

const (
	// bufferSize is what a transaction of a hundred thousand elements and its answers
	// need; without CAP_NET_ADMIN in the initial user namespace the kernel gives less.
	bufferSize = 16 << 20
	// elementsMost is how many elements a message takes: the kernel's attributes have
	// 64 KiB.
	elementsMost = 400
	// ruleData is the type of the user data that has a rule; nft shows none but
	// comments.
	ruleData userdata.Type = 0xa7
)

// nft is the backend of nftables: one table of the family inet.
//
//	chain prerouting  -110  looks up published4 and published6, then goes to dnat
//	chain output      -110  the same, then local: what concerns the gateway's own connections
//	chain postrouting   90  goes to hairpin, then snat
//
// They come before other programs' chains at the usual priorities: the first rewriting
// is the one that counts.
type nft struct {
	namespace
	name string
}

func (n *nft) kind() Backend { return NFTables }

// orderedChains are those that have the rules that are tried one after the other.
var orderedChains = []string{"dnat", "local", "snat"}

func (n *nft) conn() (*nftables.Conn, error) {
	opts := []nftables.ConnOption{nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
	})}
	opts = append(opts, nftables.WithNetNSFd(int(n.file.Fd())))
	return nftables.New(opts...)
}

func (n *nft) table() *nftables.Table {
	return &nftables.Table{Name: n.name, Family: nftables.TableFamilyINet}
}

// read reads our table.
func (n *nft) read(context.Context) (*state, error) {
	s := new(state)
	c, err := n.conn()
	if err != nil {
		return s, err
	}
	defer c.CloseLasting()
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, fmt.Errorf("list the tables: %w", err)
	}
	s.there = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == n.name })
	if !s.there {
		return s, nil
	}
	s.sound, s.nft.handles = true, map[string]map[Rule]uint64{}
	if err := n.readPublished(s); err != nil {
		return s, err
	}
	for _, chain := range orderedChains {
		if err := n.readChain(chain, s); err != nil {
			return s, err
		}
	}
	return s, n.readHairpins(s)
}

// readHairpins compares the sets of hairpins with what the rules have there.
func (n *nft) readHairpins(s *state) error {
	list, err := n.dumpRules("hairpin")
	if err != nil {
		return err
	}
	s.nft.hairpins = map[hairpinLength]bool{}
	wanted := hairpins(s.rules)
	for _, k := range list {
		l := decodeLength(userdata.Get(k.user, ruleData))
		if !k.is(masquerade(hairpinSet(n.table(), l), l)) {
			s.sound = false
			continue
		}
		s.nft.hairpins[l] = true
		err := n.dumpElements(hairpinSet(n.table(), l).Name, func(e kernelElement) {
			s.sound = s.sound && wanted[l][string(e.key)]
			delete(wanted[l], string(e.key))
		})
		if err != nil {
			return err
		}
	}
	for l, left := range wanted {
		s.sound = s.sound && s.nft.hairpins[l] && len(left) == 0
	}
	return nil
}

// readPublished reads the maps of exact rules.
func (n *nft) readPublished(s *state) error {
	ranges := map[Rule]int{} // where in s.rules those of several elements are
	elements := 0
	for _, v6 := range []bool{false, true} {
		err := n.dumpElements(publishMap(n.table(), v6).Name, func(e kernelElement) {
			comment, _ := userdata.GetString(e.user, userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
			r, err := exactRule(e.key, e.val, comment)
			if err != nil || !r.Exact() || r.validate() != nil {
				s.sound = false
				return
			}
			elements++
			at, ok := ranges[r]
			if !ok {
				at = len(s.rules)
				s.rules = append(s.rules, RuleStatus{Rule: r})
				if r.DestinationPort.Len() > 1 {
					ranges[r] = at
				}
			}
			s.rules[at].Packets += e.packets
			s.rules[at].Bytes += e.bytes
		})
		if err != nil {
			return err
		}
	}
	for _, r := range s.rules {
		elements -= r.DestinationPort.Len()
	}
	s.sound = s.sound && elements == 0
	return nil
}

// readChain reads the rules of a chain, and compares them with what we would write.
func (n *nft) readChain(chain string, s *state) error {
	list, err := n.dumpRules(chain)
	if err != nil {
		return err
	}
	s.nft.handles[chain] = map[Rule]uint64{}
	for _, k := range list {
		r, err := k.rule()
		if err != nil {
			s.sound = false
			continue
		}
		var shift *nftables.Set
		if r.shifts() {
			shift = &nftables.Set{Name: anonymousMap}
		}
		s.sound = k.is(r.expressions(shift)) && slices.Contains(r.chains(), chain) && s.sound
		s.nft.handles[chain][r] = k.handle
		if chain != "local" {
			s.rules = append(s.rules, RuleStatus{r, k.packets, k.bytes})
		}
	}
	return nil
}

// write makes the table what is wanted in one transaction: all of it, or nothing.
func (n *nft) write(_ context.Context, s *state, changes []Change, want []Rule) error {
	c, err := n.conn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	t := n.table()
	w := &nftWriter{c: c, t: t, s: s}
	if !s.there || !s.sound {
		if s.there {
			c.DelTable(t)
		}
		changes = nil
		for _, r := range want {
			changes = append(changes, Change{AddRule, r})
		}
		w.s = &state{nft: nftState{handles: map[string]map[Rule]uint64{}}}
		w.skeleton()
	}
	w.removeOrdered(changes)
	w.addOrdered(changes, want)
	w.publish(changes)
	w.hairpins(want)
	if w.err != nil {
		return w.err
	}
	return c.Flush()
}

// clear removes the table.
func (n *nft) clear(context.Context) error {
	c, err := n.conn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	c.DelTable(n.table())
	return c.Flush()
}

// nftWriter puts a transaction together.
type nftWriter struct {
	c   *nftables.Conn
	t   *nftables.Table
	s   *state
	err error
}

func (w *nftWriter) chain(name string) *nftables.Chain {
	return &nftables.Chain{Table: w.t, Name: name}
}

// skeleton makes the table, its chains and maps.
func (w *nftWriter) skeleton() {
	w.c.AddTable(w.t)
	for _, name := range append([]string{"hairpin"}, orderedChains...) {
		w.c.AddChain(w.chain(name))
	}
	var lookups [][]expr.Any
	for _, v6 := range []bool{false, true} {
		m := publishMap(w.t, v6)
		w.fail(w.c.AddSet(m, nil))
		lookups = append(lookups, lookup(m, v6))
	}
	base := func(name string, hook *nftables.ChainHook, priority nftables.ChainPriority, first [][]expr.Any, jumps ...string) {
		ch := w.c.AddChain(&nftables.Chain{Table: w.t, Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: &priority})
		for _, e := range first {
			w.c.AddRule(&nftables.Rule{Table: w.t, Chain: ch, Exprs: e})
		}
		for _, to := range jumps {
			w.c.AddRule(&nftables.Rule{Table: w.t, Chain: ch, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: to}}})
		}
	}
	base("prerouting", nftables.ChainHookPrerouting, -110, lookups, "dnat")
	base("output", nftables.ChainHookOutput, -110, lookups, "local")
	base("postrouting", nftables.ChainHookPostrouting, 90, nil, "hairpin", "snat")
}

func (w *nftWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// chains are those that a rule is in.
func (r Rule) chains() []string {
	switch {
	case r.Exact():
		return nil
	case !r.Action.destination():
		return []string{"snat"}
	case r.local():
		return []string{"dnat", "local"}
	}
	return []string{"dnat"}
}

func (w *nftWriter) removeOrdered(changes []Change) {
	for _, ch := range changes {
		if ch.Op != RemoveRule {
			continue
		}
		for _, name := range ch.Rule.chains() {
			w.fail(w.c.DelRule(&nftables.Rule{Table: w.t, Chain: w.chain(name), Handle: w.s.nft.handles[name][ch.Rule]}))
		}
	}
}

// addOrdered adds each rule before the next one that stays.
func (w *nftWriter) addOrdered(changes []Change, want []Rule) {
	added := map[Rule]bool{}
	for _, ch := range changes {
		if ch.Op == AddRule {
			added[ch.Rule] = true
		}
	}
	next := map[string]uint64{} // the handle of the rule behind, by chain
	var places []nftables.Rule
	for _, r := range slices.Backward(want) {
		for _, name := range r.chains() {
			if added[r] {
				places = append(places, nftables.Rule{Table: w.t, Chain: w.chain(name), Position: next[name], UserData: userData(r)})
				places[len(places)-1].Exprs = w.expressions(r)
			} else {
				next[name] = w.s.nft.handles[name][r]
			}
		}
	}
	for _, rule := range slices.Backward(places) {
		if rule.Position != 0 {
			w.c.InsertRule(&rule)
		} else {
			w.c.AddRule(&rule)
		}
	}
}

func (w *nftWriter) expressions(r Rule) []expr.Any {
	if !r.shifts() {
		return r.expressions(nil)
	}
	m := &nftables.Set{
		Table: w.t, Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInetService, DataType: nftables.TypeInetService,
	}
	var elements []nftables.SetElement
	for i := range uint16(r.ToPort.Len()) {
		elements = append(elements, nftables.SetElement{Key: port(r.DestinationPort.First + i), Val: port(r.ToPort.First + i)})
	}
	w.fail(w.c.AddSet(m, elements))
	return r.expressions(m)
}

func userData(r Rule) (b []byte) {
	if r.Name != "" {
		b = userdata.AppendString(b, userdata.TypeComment, r.Name)
	}
	return userdata.Append(b, ruleData, r.encode())
}

// publish changes the maps.
func (w *nftWriter) publish(changes []Change) {
	type key struct {
		op ChangeOp
		v6 bool
	}
	elements := map[key][]nftables.SetElement{}
	for _, ch := range changes {
		for p, to := range ch.Rule.publishes() {
			k := key{ch.Op, p.addr.Is6()}
			elements[k] = append(elements[k], ch.Rule.element(p, to))
		}
	}
	for _, op := range []ChangeOp{RemoveRule, AddRule} {
		for _, v6 := range []bool{false, true} {
			for chunk := range slices.Chunk(elements[key{op, v6}], elementsMost) {
				if m := publishMap(w.t, v6); op == RemoveRule {
					w.fail(w.c.SetDeleteElements(m, chunk))
				} else {
					w.fail(w.c.SetAddElements(m, chunk))
				}
			}
		}
	}
}

// hairpins changes the sets of hairpins. One that is not needed any more stays, empty.
func (w *nftWriter) hairpins(want []Rule) {
	before, after := hairpins(w.s.rules), hairpins(want)
	for _, l := range slices.SortedFunc(maps.Keys(after), compareLengths) {
		if w.s.nft.hairpins[l] {
			continue
		}
		set := hairpinSet(w.t, l)
		w.fail(w.c.AddSet(set, nil))
		w.c.AddRule(&nftables.Rule{Table: w.t, Chain: w.chain("hairpin"), Exprs: masquerade(set, l), UserData: userdata.Append(nil, ruleData, l.encode())})
	}
	change := func(l hairpinLength, from, to map[string]bool, do func(*nftables.Set, []nftables.SetElement) error) {
		var list []nftables.SetElement
		for key := range to {
			if !from[key] {
				list = append(list, nftables.SetElement{Key: []byte(key)})
			}
		}
		for chunk := range slices.Chunk(list, elementsMost) {
			w.fail(do(hairpinSet(w.t, l), chunk))
		}
	}
	for l := range before {
		change(l, after[l], before[l], w.c.SetDeleteElements)
	}
	for l := range after {
		change(l, before[l], after[l], w.c.SetAddElements)
	}
}

func compareLengths(a, b hairpinLength) int {
	return cmp.Or(cmp.Compare(b.bits, a.bits), strings.Compare(strconv.FormatBool(a.v6), strconv.FormatBool(b.v6)))
}

func (n *nft) current(ctx context.Context) (*state, error) { return n.read(ctx) }

func (n *nft) watch(ctx context.Context, tell func()) error {
	<-ctx.Done()
	return ctx.Err()
}
