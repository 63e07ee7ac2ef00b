package nat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// xtables is the backend of the programs iptables-nft-* or iptables-legacy-*.
type xtables struct {
	namespace
	variant  Backend
	names    xtNames
	programs [2]xtPrograms
	parsers  [2]xtParser
	own      xtWriters

	last  *state // what was read or written last
	ipt   iptState
	known xtKnown
}

// families name those of iptState.
var families = [2]Family{IPv4, IPv6}

func newXTables(ns namespace, cfg Config, variant Backend) *xtables {
	b := &xtables{namespace: ns, variant: variant, names: newXTNames(cfg.Name)}
	b.known.nft.namespace = ns
	names := systemProtocols()
	for i := range families {
		b.programs[i] = findPrograms(variant, i == 1)
		b.parsers[i] = xtParser{v6: i == 1, protocols: names}
	}
	return b
}

func (b *xtables) kind() Backend { return b.variant }

// read reads the chains of both families, one after the other.
func (b *xtables) read(ctx context.Context) (*state, error) {
	s := new(state)
	b.last, b.ipt = s, iptState{}
	b.known.begin(ctx, b.variant)
	for i := range families {
		f := &b.ipt[i]
		text, err := b.save(ctx, i)
		switch {
		case err == nil:
			*f = b.names.readSave(text, &b.parsers[i])
		case i == 1 && ctx.Err() == nil: // it matters when there are rules for it
			f.err = err
		default:
			return s, err
		}
	}
	b.sum(s)
	return s, nil
}

// sum makes the state of both families one.
func (b *xtables) sum(s *state) {
	s.sound = true
	for i := range b.ipt {
		f := &b.ipt[i]
		s.there = s.there || f.there
		s.sound = s.sound && (f.sound || !f.there)
		s.rules = append(s.rules, f.rules...)
	}
	s.sound = s.sound && s.there
}

// save is the table nat as text, empty if the kernel has none.
func (b *xtables) save(ctx context.Context, family int) (string, error) {
	p := &b.programs[family]
	if p.err != nil {
		return "", p.err
	}
	if b.variant == IPTablesLegacy {
		if tables, err := b.legacyTables(family); err != nil || !slices.Contains(tables, "nat") {
			return "", err
		}
	}
	text, err := b.run(ctx, p.save, []string{"-c", "-t", "nat"}, "")
	if err == nil && incompatible(text) {
		err = errIncompatible
	}
	if err != nil {
		return "", fmt.Errorf("read the rules of %s: %w", families[family].word(), err)
	}
	return text, nil
}

func (f Family) word() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// write makes the changes, in one commit for each family that they concern.
func (b *xtables) write(ctx context.Context, s *state, changes []Change, want []Rule) error {
	if s != b.last {
		return errNotRead
	}
	generation := b.known.forget()
	if want == nil {
		all := s.ruleSet().clone()
		all.apply(changes)
		want = all.rules()
	}
	var lists [2][]Rule
	for i := range families {
		var err error
		if lists[i], err = b.rules(want, i); err != nil {
			return err
		}
		if len(lists[i]) > 0 {
			if err := errors.Join(b.ipt[i].err, b.programs[i].err); err != nil {
				return err
			}
		}
	}
	for i := range families {
		written, err := b.commit(ctx, i, b.input(i, lists[i], changes))
		if err != nil {
			return err
		}
		if written && generation != 0 {
			generation = following(generation)
		}
	}
	b.remember(&lists, generation)
	return nil
}

// input is what makes a family's chains have the rules. While they are as they were
// read, the changes are all that differs.
func (b *xtables) input(family int, list []Rule, changes []Change) func(f *xtFamily) string {
	edits, moves := 0, moved(changes)
	for i := range changes {
		if changes[i].Rule.family() == families[family] {
			edits++
		}
	}
	again := false
	return func(f *xtFamily) string {
		if !again && edits == 0 && f.sound && f.there == (len(list) > 0) {
			return ""
		}
		again = true
		return b.names.restore(f, list, moves, edits <= xtEditsMost)
	}
}

// busy is what iptables-legacy says when others have written while it prepared its commit
// without the lock.
const busy = "Resource temporarily unavailable"

// commit writes what input makes of a family, if that is anything. When it is refused,
// and others have changed our chains since they were read, it is made anew.
func (b *xtables) commit(ctx context.Context, family int, input func(*xtFamily) string) (written bool, err error) {
	f := &b.ipt[family]
	text := input(f)
	if f.stale && strings.HasPrefix(text, xtFills) {
		if err := b.refresh(ctx, family); err != nil {
			return false, err
		}
		text = input(f)
	}
	for tries := 1; text != ""; tries++ {
		_, err := b.run(ctx, b.programs[family].restore, []string{"-n", "-c", "-w"}, text)
		if err == nil {
			return true, nil
		}
		err = fmt.Errorf("write the rules of %s: %w", families[family].word(), hint(err, text))
		if f.held != "" {
			err = fmt.Errorf("%w: a rule of others leads to a chain of ours, delete it first: %s", err, f.held)
		}
		before := *f
		if tries == attempts || ctx.Err() != nil || b.refresh(ctx, family) != nil ||
			f.same(&before) && !strings.Contains(err.Error(), busy) {
			return false, err
		}
		text = input(f)
	}
	return false, nil
}

// refresh reads a family again.
func (b *xtables) refresh(ctx context.Context, family int) error {
	text, err := b.save(ctx, family)
	if err == nil {
		b.ipt[family] = b.names.readSave(text, &b.parsers[family])
	}
	return err
}

// errNotRead is a mistake of the caller's.
var errNotRead = invalid("it was read again since")

// rules are those of a family.
func (b *xtables) rules(want []Rule, family int) (list []Rule, err error) {
	for _, r := range want {
		if r.family() != families[family] {
			continue
		}
		if text := r.xtUnsupported(); text != "" {
			return nil, &OpError{Op: "add", Object: r.String(), Err: fmt.Errorf("%s: %w", text, errors.ErrUnsupported)}
		}
		list = append(list, r)
	}
	return list, nil
}

// moved are the rules that are removed and added at another place, if the changes are
// few enough to be edited.
func moved(changes []Change) map[Rule]bool {
	if len(changes) > xtEditsMost {
		return nil
	}
	out, removed := map[Rule]bool{}, map[Rule]bool{}
	for _, c := range changes {
		if c.Op == RemoveRule {
			removed[c.Rule] = true
		} else if removed[c.Rule] {
			out[c.Rule] = true
		}
	}
	return out
}

// clear removes the chains, and the jumps to them.
func (b *xtables) clear(ctx context.Context) error {
	if _, err := b.read(ctx); err != nil {
		return err
	}
	b.known.forget()
	for i := range families {
		if _, err := b.commit(ctx, i, b.names.remove); err != nil {
			return err
		}
	}
	return nil
}
