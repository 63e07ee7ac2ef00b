package nat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// What is read is compared with what we would write: the table is sound if nothing is
// in it but that.

const nftaTableOwner = 7 // NFTA_TABLE_OWNER

// readTable reads our table. A state that is not sound has the rules that could be
// read.
func (n *nft) readTable(ctx context.Context, s *state) error {
	parts := 0 // chains and sets
	err := n.ask(ctx, unix.NFT_MSG_GETTABLE, 0, 0, "", func(b attrs) error {
		parts = int(b.u32(unix.NFTA_TABLE_USE))
		s.there, s.sound = true, b.u32(unix.NFTA_TABLE_FLAGS) == 0 && b.find(nftaTableOwner) == nil
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the table: %w", err)
	}
	if err := n.readChains(ctx, s); err != nil {
		return err
	}
	if err := n.readPublished(ctx, s); err != nil {
		return err
	}
	if err := n.readRules(ctx, s); err != nil {
		return err
	}
	if err := n.readHairpins(ctx, s); err != nil {
		return err
	}
	for i := len(s.set.base.list); i < len(s.rules); i++ {
		s.set.base.list = append(s.set.base.list, s.rules[i].Rule)
		s.set.base.index.add(s.set.base.list, i)
	}
	// Anonymous maps are not counted once they are bound to their rules.
	ours := 1 + len(orderedChains) + len(baseChains) + len(isIPv6) + len(s.nft.hairpins)
	s.sound = s.sound && parts == ours
	return nil
}

// readChains compares the chains.
func (n *nft) readChains(ctx context.Context, s *state) error {
	for _, name := range append([]string{"hairpin"}, orderedChains...) {
		if err := n.readChain(ctx, s, name, nil); err != nil {
			return err
		}
	}
	for _, c := range baseChains {
		if err := n.readChain(ctx, s, c.name, &c.hook); err != nil {
			return err
		}
	}
	return nil
}

func (n *nft) readChain(ctx context.Context, s *state, name string, want *hook) error {
	err := n.ask(ctx, unix.NFT_MSG_GETCHAIN, 0, unix.NFTA_CHAIN_NAME, name, func(b attrs) error {
		h := b.find(unix.NFTA_CHAIN_HOOK)
		if want == nil {
			s.sound = s.sound && h == nil
			return nil
		}
		s.sound = s.sound && attrs(h).u32(unix.NFTA_HOOK_HOOKNUM) == want.number && int32(attrs(h).u32(unix.NFTA_HOOK_PRIORITY)) == want.priority &&
			b.text(unix.NFTA_CHAIN_TYPE) == "nat" && b.u32(unix.NFTA_CHAIN_POLICY) == acceptPolicy
		return nil
	})
	return n.missing(s, err, "chain "+name)
}

// missing turns the error of what is not there into a state that is not sound.
func (n *nft) missing(s *state, err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		s.sound = false
		return nil
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// readSet compares the form of a set, and reads its elements.
func (n *nft) readSet(ctx context.Context, s *state, name string, f setForm, each func(*element)) error {
	err := n.ask(ctx, unix.NFT_MSG_GETSET, 0, unix.NFTA_SET_NAME, name, func(b attrs) error {
		s.sound = s.sound && sameSet(b, f)
		return nil
	})
	var e element
	if err == nil {
		err = n.ask(ctx, unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, unix.NFTA_SET_ELEM_LIST_SET, name, func(b attrs) error {
			for list := attrs(b.find(unix.NFTA_SET_ELEM_LIST_ELEMENTS)); ; {
				typ, data := list.next()
				if typ == 0 {
					return nil
				}
				if e.read(data); !e.plain {
					s.sound = false
				}
				each(&e)
			}
		})
	}
	return n.missing(s, err, "set "+name)
}

// element is an element of a set or map as the kernel has it.
type element struct {
	key, value, user []byte
	count            counts
	plain            bool // it has nothing that we do not write, such as a timeout
}

func (e *element) read(b attrs) {
	*e = element{plain: true}
	for {
		typ, data := b.next()
		switch typ &^ unix.NLA_F_NESTED {
		case 0:
			return
		case unix.NFTA_SET_ELEM_KEY:
			e.key = attrs(data).find(unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_DATA:
			e.value = attrs(data).find(unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_USERDATA:
			e.user = data
		case unix.NFTA_SET_ELEM_EXPR:
			e.plain = e.plain && attrs(data).text(unix.NFTA_EXPR_NAME) == "counter"
			e.count = readCounts(attrs(data).find(unix.NFTA_EXPR_DATA))
		case unix.NFTA_SET_ELEM_PAD:
		default:
			e.plain = false
		}
	}
}

// readPublished reads the maps of exact rules.
func (n *nft) readPublished(ctx context.Context, s *state) error {
	ranges := map[Rule]int{} // where in s.rules those of several elements are
	elements, ports, twice := 0, 0, false
	x := &indexed{list: make([]Rule, 0, n.size), index: newIndex(n.size), published: make(map[published]int32, n.size)}
	s.rules = make([]RuleStatus, 0, n.size)
	for _, v6 := range isIPv6 {
		err := n.readSet(ctx, s, publishedMap(v6), publishedForm(v6), func(e *element) {
			comment, _ := readUserData(e.user)
			r, err := exactRule(e.key, e.value, comment)
			if err != nil || !r.Exact() || r.validate() != nil {
				s.sound = false
				return
			}
			elements++
			dst, protocol, _ := cutEnd(e.key, true)
			p := published{dst.Addr(), protocol, dst.Port()}
			if _, ok := x.published[p]; ok {
				twice = true
				return
			}
			at, ok := len(s.rules), false
			if r.DestinationPort.Len() > 1 {
				if at, ok = ranges[r]; !ok {
					at = len(s.rules)
					ranges[r] = at
				}
			}
			if !ok {
				s.rules, x.list = append(s.rules, RuleStatus{Rule: r}), append(x.list, r)
				x.index.add(x.list, at)
				ports += r.DestinationPort.Len()
			}
			x.published[p] = int32(at)
			s.rules[at].Packets += e.count.packets
			s.rules[at].Bytes += e.count.bytes
		})
		if err != nil {
			return err
		}
	}
	if twice {
		// The kernel rehashed the map while it was read, in the background and after
		// the transaction that made it grow: then others are missing.
		return errChanged
	}
	s.set, n.size = &ruleSet{base: x}, len(s.rules)
	s.sound = s.sound && elements == ports
	return nil
}

// kernelRule is a rule as the kernel has it.
type kernelRule struct {
	handle      uint64
	user, exprs []byte
}

// readRules reads the rules of all chains, and the handles of the ordered ones.
func (n *nft) readRules(ctx context.Context, s *state) error {
	r := ruleReader{state: s, base: map[string]int{}}
	s.nft.handles, s.nft.hairpins = newHandles(0), map[hairpinLength]map[string]int{}
	err := n.ask(ctx, unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, 0, "", func(b attrs) error {
		k := kernelRule{b.u64(unix.NFTA_RULE_HANDLE), b.find(unix.NFTA_RULE_USERDATA), b.find(unix.NFTA_RULE_EXPRESSIONS)}
		r.take(b.text(unix.NFTA_RULE_CHAIN), k)
		return nil
	})
	if err := n.missing(s, err, "rules"); err != nil {
		return err
	}
	for _, c := range baseChains {
		s.sound = s.sound && r.base[c.name] == len(c.rules)
	}
	r.compareLocal()
	for _, m := range r.shifts {
		if err := n.readShift(ctx, s, m); err != nil {
			return err
		}
	}
	return nil
}

// ruleReader sorts rules by their chains.
type ruleReader struct {
	*state
	base   map[string]int // how many rules of a base chain there were
	local  [classes][]RuleStatus
	shifts []shift
	buf    nftWire
}

// shift is a rule and its anonymous map.
type shift struct {
	rule Rule
	name string
}

// same compares a rule with what write writes.
func (r *ruleReader) same(k kernelRule, write func(*nftWire)) (bool, counts, string) {
	r.buf.b = r.buf.b[:0]
	write(&r.buf)
	return sameRule(k.exprs, r.buf.b)
}

func (r *ruleReader) take(chain string, k kernelRule) {
	if i := slices.Index(orderedChains, chain); i >= 0 {
		r.takeOrdered(i, k)
		return
	}
	same := false
	if chain == "hairpin" {
		_, user := readUserData(k.user)
		l, ok := decodeLength(user)
		_, twice := r.nft.hairpins[l]
		if same, _, _ = r.same(k, func(w *nftWire) { w.hairpin(l) }); same && ok && !twice {
			r.nft.hairpins[l] = map[string]int{}
		}
		same = same && ok && !twice
	}
	for _, c := range baseChains {
		if i := r.base[chain]; c.name == chain && i < len(c.rules) {
			same, _, _ = r.same(k, c.rules[i])
			r.base[chain]++
		}
	}
	r.sound = r.sound && same
}

// takeOrdered takes a rule of an ordered chain.
func (r *ruleReader) takeOrdered(chain int, k kernelRule) {
	comment, user := readUserData(k.user)
	rule, err := decodeRule(user, comment)
	if err != nil {
		r.sound = false
		return
	}
	at := slices.Index(rule.chains(), orderedChains[chain])
	if at < 0 || r.nft.handles.get(&rule)[at] != 0 { // it is there twice
		r.sound = false
		return
	}
	r.nft.handles.set(&rule, at, k.handle)
	same, count, anonymous := r.same(k, func(w *nftWire) { w.rule(&rule) })
	r.sound = r.sound && same && (anonymous != "") == rule.shifts()
	if rule.shifts() {
		r.shifts = append(r.shifts, shift{rule, anonymous})
	}
	status := RuleStatus{rule, count.packets, count.bytes}
	if at == 0 {
		r.rules = append(r.rules, status)
	} else {
		c := rule.class()
		r.local[c] = append(r.local[c], status)
	}
}

// compareLocal compares the rules of local with those of destination that it should have, and
// adds their counters.
func (r *ruleReader) compareLocal() {
	for i := range r.rules {
		s := &r.rules[i]
		if s.Exact() || !s.local() {
			continue
		}
		c := s.class()
		if len(r.local[c]) == 0 || r.local[c][0].Rule != s.Rule {
			r.sound = false
			return
		}
		s.Packets += r.local[c][0].Packets
		s.Bytes += r.local[c][0].Bytes
		r.local[c] = r.local[c][1:]
	}
	for _, left := range r.local {
		r.sound = r.sound && len(left) == 0
	}
}

// readShift compares the anonymous map of a rule.
func (n *nft) readShift(ctx context.Context, s *state, m shift) error {
	elements := 0
	err := n.readSet(ctx, s, m.name, shiftForm, func(e *element) {
		elements++
		if len(e.key) != 2 || len(e.value) != 2 {
			s.sound = false
			return
		}
		i := int(binary.BigEndian.Uint16(e.key)) - int(m.rule.DestinationPort.First)
		s.sound = s.sound && i >= 0 && i < m.rule.ToPort.Len() && int(binary.BigEndian.Uint16(e.value)) == int(m.rule.ToPort.First)+i
	})
	s.sound = s.sound && elements == m.rule.ToPort.Len()
	return err
}

// readHairpins compares the sets of hairpins with what the rules have there.
func (n *nft) readHairpins(ctx context.Context, s *state) error {
	for i := range s.rules {
		r := &s.rules[i].Rule
		if !r.Hairpin.IsValid() {
			continue
		}
		l, key := r.hairpinKey()
		if s.nft.hairpins[l] == nil {
			s.sound = false
			return nil
		}
		s.nft.hairpins[l][key]++
	}
	for l, wanted := range s.nft.hairpins {
		elements := 0
		err := n.readSet(ctx, s, l.set(), hairpinForm(l.v6), func(e *element) {
			elements++
			s.sound = s.sound && wanted[string(e.key)] > 0
		})
		if err != nil {
			return err
		}
		s.sound = s.sound && elements == len(wanted)
	}
	return nil
}
