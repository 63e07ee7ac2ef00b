package nat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// orderedChains are those that have the rules that are tried one after the other. No
// name is a word of nft's: what nft prints it can read again.
var orderedChains = []string{"destination", "local", "source"}

// hook is where a chain is entered from.
type hook struct {
	number   uint32
	priority int32
}

// baseChains are those that packets come to, with what they do.
var baseChains = []struct {
	name  string
	hook  hook
	rules []func(*nftWire)
}{
	{"prerouting", hook{unix.NF_INET_PRE_ROUTING, -110}, []func(*nftWire){published4, published6, jumpTo("destination")}},
	{"output", hook{unix.NF_INET_LOCAL_OUT, -110}, []func(*nftWire){published4, published6, jumpTo("local")}},
	{"postrouting", hook{unix.NF_INET_POST_ROUTING, 90}, []func(*nftWire){jumpTo("hairpin"), jumpTo("source")}},
}

func published4(w *nftWire) { w.publishing(false) }
func published6(w *nftWire) { w.publishing(true) }

func jumpTo(chain string) func(*nftWire) { return func(w *nftWire) { w.jump(chain) } }

// chains are those that a rule is in.
func (r *Rule) chains() []string {
	switch {
	case r.Exact():
		return nil
	case !r.Action.destination():
		return orderedChains[2:]
	case r.local():
		return orderedChains[:2]
	}
	return orderedChains[:1]
}

// write makes the table what is wanted in one transaction: all of it, or nothing.
func (n *nft) write(ctx context.Context, s *state, changes []Change, want []Rule) error {
	n.last = nil
	w := &nftWriter{batch: newBatch(n.name, s.nft.generation, len(changes)), nft: s.nft}
	if !s.there || !s.sound {
		w.fresh(s.there)
		changes = make([]Change, len(want))
		for i := range want {
			changes[i] = Change{AddRule, want[i]}
		}
	} else {
		w.findEmptied(s, changes)
		if err := n.needHandles(ctx, s, w.needHandle(changes, want != nil)); err != nil {
			return err
		}
		w.nft.handles = s.nft.handles
	}
	w.removeOrdered(changes)
	w.addOrdered(changes, want)
	w.publish(changes)
	w.hairpinChanges(changes)
	if w.unknown != nil {
		return fmt.Errorf("%s: %w", w.unknown, fs.ErrNotExist)
	}
	if err := n.dial(); err != nil {
		return err
	}
	if err := n.commit(ctx, w, s); err != nil {
		if n.noisy = errors.Is(err, errChanged); !n.noisy {
			n.drop()
		}
		return err
	}
	n.last = w.after(s, changes, want)
	return nil
}

// commit sends the transaction. While others write all the time, it is sent
// again as long as they leave our table alone.
func (n *nft) commit(ctx context.Context, w *nftWriter, s *state) error {
	for {
		err := w.commit(n.socket, w.echo)
		if !errors.Is(err, errChanged) || n.news == nil || ctx.Err() != nil {
			return err
		}
		if err := n.follow(s, true); err != nil {
			return err
		}
		w.nft.generation = s.nft.generation
		w.renew(s.nft.generation)
	}
}

// needHandles reads the handles that a big change has left unknown, if they are needed.
func (n *nft) needHandles(ctx context.Context, s *state, need bool) error {
	if s.nft.handles != nil || !need {
		return nil
	}
	fresh := &state{sound: true, there: true}
	if err := n.readRules(ctx, fresh); err != nil {
		return err
	}
	// The transaction will be refused if somebody has written meanwhile.
	s.nft.handles = fresh.nft.handles
	return nil
}

// nftWriter puts a transaction together.
type nftWriter struct {
	*batch
	nft     nftState
	isNew   bool
	unknown *Rule          // one to be removed that has no handle
	places  []place        // of the ordered rules that are added
	counts  []hairpinCount // what the hairpins will be
	emptied emptied
}

// place is where an ordered rule is added.
type place struct {
	rule   *Rule
	chain  int // of its chains
	before uint64
	seq    uint32
	handle uint64 // as the kernel told
}

// hairpinCount is how many rules will have an element.
type hairpinCount struct {
	length hairpinLength
	key    string
	n      int
}

// fresh makes the table, its chains and maps, in the place of what is there.
func (w *nftWriter) fresh(there bool) {
	w.isNew = true
	w.nft.handles, w.nft.hairpins = newHandles(0), map[hairpinLength]map[string]int{}
	table := subject{command: unix.NFT_MSG_NEWTABLE, name: "table inet " + w.table, fresh: true}
	if there {
		w.tableMessage(unix.NFT_MSG_DELTABLE, 0)
		w.about(subject{command: unix.NFT_MSG_DELTABLE, name: table.name})
	}
	w.tableMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	w.about(table)
	for _, name := range append([]string{"hairpin"}, orderedChains...) {
		w.newChain(name, nil)
		w.about(subject{unix.NFT_MSG_NEWCHAIN, "chain " + name, nil, true})
	}
	for _, v6 := range isIPv6 {
		w.newSet(publishedMap(v6), publishedForm(v6))
		w.about(subject{unix.NFT_MSG_NEWSET, "map " + publishedMap(v6), nil, true})
	}
	for _, c := range baseChains {
		w.newChain(c.name, &c.hook)
		w.about(subject{unix.NFT_MSG_NEWCHAIN, "chain " + c.name, nil, true})
		w.baseRules(c.name, c.rules)
	}
}

func (w *nftWriter) baseRules(chain string, rules []func(*nftWire)) {
	for _, write := range rules {
		w.newRule(chain, 0, func() { write(&w.nftWire) }, "", nil)
	}
	w.about(subject{unix.NFT_MSG_NEWRULE, "chain " + chain, nil, true})
}

func (w *nftWriter) removeOrdered(changes []Change) {
	w.flushChains()
	for i := range changes {
		r := &changes[i].Rule
		if changes[i].Op != RemoveRule || r.Exact() {
			continue
		}
		handles := w.nft.handles.get(r)
		for i, chain := range r.chains() {
			if w.emptied.chain(chain) {
				continue
			}
			if handles[i] == 0 {
				w.unknown = r
				return
			}
			w.delRule(chain, handles[i])
			w.about(subject{command: unix.NFT_MSG_DELRULE, rule: r})
		}
	}
}

// echoMost is how many new rules the kernel is asked to tell the handles of. Those of
// more are read when they are needed: each answer takes some 8 KiB, and a socket without
// CAP_NET_ADMIN in the initial user namespace has not much more than 200.
const echoMost = 16

// addOrdered adds each rule before the next one that stays and that it could meet, all
// behind the others where want is nil.
func (w *nftWriter) addOrdered(changes []Change, want []Rule) {
	added := newIndex(0)
	rules := make([]Rule, 0, 8) // what is added, to look up
	for i := range changes {
		if r := &changes[i].Rule; changes[i].Op == AddRule && !r.Exact() {
			rules = append(rules, *r)
			added.add(rules, len(rules)-1)
		}
	}
	switch {
	case len(rules) == 0:
		return
	case want == nil:
		want = rules
	}
	var next [classes][2]uint64 // the handles of the rule behind
	for i := len(want) - 1; i >= 0; i-- {
		r := &want[i]
		if r.Exact() {
			continue
		}
		class := r.class()
		if added.find(rules, r) < 0 {
			handles := w.nft.handles.get(r)
			for i, handle := range handles {
				if handle != 0 {
					next[class][i] = handle
				}
			}
			continue
		}
		for i := range r.chains() {
			w.places = append(w.places, place{rule: r, chain: i, before: next[class][i]})
		}
	}
	slices.Reverse(w.places)
	for i := range w.places {
		w.addPlace(&w.places[i])
	}
}

func (w *nftWriter) addPlace(p *place) {
	if p.rule.shifts() {
		w.shiftMap(p.rule)
		w.about(subject{unix.NFT_MSG_NEWSET, "", p.rule, w.isNew})
	}
	w.newRule(p.rule.chains()[p.chain], p.before, func() { w.rule(p.rule) }, p.rule.Name, p.rule.encode())
	if p.seq = w.seq; len(w.places) <= echoMost {
		w.flag(w.begun, unix.NLM_F_ECHO)
	}
	w.about(subject{unix.NFT_MSG_NEWRULE, "", p.rule, true})
}

// echo takes the handle of a rule that was added.
func (w *nftWriter) echo(seq uint32, handle uint64) {
	if i, ok := slices.BinarySearchFunc(w.places, seq, func(p place, seq uint32) int { return cmp.Compare(p.seq, seq) }); ok {
		w.places[i].handle = handle
	}
}

// publish changes the maps.
func (w *nftWriter) publish(changes []Change) {
	w.renewMaps()
	for i, v6 := range isIPv6 {
		name := publishedMap(v6)
		for _, op := range []ChangeOp{RemoveRule, AddRule} {
			e := elements{w: &w.nftWire, command: unix.NFT_MSG_NEWSETELEM, set: name}
			if op == RemoveRule {
				e.command = unix.NFT_MSG_DELSETELEM
				if w.emptied.maps[i] {
					continue
				}
			}
			for i := range changes {
				if r := &changes[i].Rule; changes[i].Op == op && r.Destination.Addr().Is6() == v6 {
					for p, to := range r.publishes() {
						e.published(r, p, to)
					}
				}
			}
			e.end()
			w.about(subject{command: e.command, name: "map " + name})
		}
	}
}

// hairpinChanges changes the sets of hairpins. One that is not needed any more stays,
// empty.
func (w *nftWriter) hairpinChanges(changes []Change) {
	deltas := map[hairpinLength]map[string]int{}
	for i := range changes {
		r := &changes[i].Rule
		if !r.Hairpin.IsValid() {
			continue
		}
		l, key := r.hairpinKey()
		if deltas[l] == nil {
			deltas[l] = map[string]int{}
		}
		if changes[i].Op == AddRule {
			deltas[l][key]++
		} else {
			deltas[l][key]--
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(deltas), compareLengths) {
		if _, ok := w.nft.hairpins[l]; !ok {
			w.newSet(l.set(), hairpinForm(l.v6))
			w.about(subject{unix.NFT_MSG_NEWSET, "set " + l.set(), nil, w.isNew})
			w.newRule("hairpin", 0, func() { w.hairpin(l) }, "", l.encode())
			w.about(subject{unix.NFT_MSG_NEWRULE, "chain hairpin", nil, true})
		}
		w.changeHairpins(l, deltas[l])
	}
}

func (w *nftWriter) changeHairpins(l hairpinLength, deltas map[string]int) {
	gone := elements{w: &w.nftWire, command: unix.NFT_MSG_DELSETELEM, set: l.set()}
	for key, delta := range deltas {
		before := w.nft.hairpins[l][key]
		w.counts = append(w.counts, hairpinCount{l, key, before + delta})
		if before > 0 && before+delta == 0 {
			gone.hairpin(key)
		}
	}
	gone.end()
	come := elements{w: &w.nftWire, command: unix.NFT_MSG_NEWSETELEM, set: l.set()}
	for key, delta := range deltas {
		if before := w.nft.hairpins[l][key]; before == 0 && delta > 0 {
			come.hairpin(key)
		}
	}
	come.end()
	w.about(subject{command: unix.NFT_MSG_NEWSETELEM, name: "set " + l.set()})
}

func compareLengths(a, b hairpinLength) int {
	return cmp.Or(cmp.Compare(b.bits, a.bits), cmp.Compare(a.set(), b.set()))
}

// after is the state that the transaction has left. It changes s, which is not
// so any more.
func (w *nftWriter) after(s *state, changes []Change, want []Rule) *state {
	handles, hairpins := w.nft.handles, w.nft.hairpins
	for _, c := range w.counts {
		if hairpins[c.length] == nil {
			hairpins[c.length] = map[string]int{}
		}
		if hairpins[c.length][c.key] = c.n; c.n == 0 {
			delete(hairpins[c.length], c.key)
		}
	}
	if handles != nil {
		for i := range changes {
			if changes[i].Op == RemoveRule && !changes[i].Rule.Exact() {
				handles.remove(&changes[i].Rule)
			}
		}
		for _, p := range w.places {
			if p.handle == 0 {
				handles = nil
				break
			}
			handles.set(p.rule, p.chain, p.handle)
		}
	}
	out := &state{there: true, sound: true, nft: nftState{w.nft.generation, handles, hairpins}}
	if w.seq > 1 {
		out.nft.generation = following(out.nft.generation)
	}
	switch {
	case want != nil && s.goal != nil:
		out.set = s.goal.clone()
		return out
	case want != nil:
		out.set = newRuleSet(slices.Clone(want))
		return out
	}
	out.set = s.ruleSet()
	out.set.apply(changes)
	return out
}
