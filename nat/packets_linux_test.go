package nat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
)

func TestPackets(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		w := newWire(t)
		table := w.table(b)
		for _, c := range packetCases {
			for _, v6 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s", c.name, map[bool]string{false: "IPv4", true: "IPv6"}[v6]), func(t *testing.T) {
					w.t = t
					w.play(table, c, v6)
				})
			}
		}
	})
}

// play sends the packets of a case, and compares what the rules have counted.
func (w *wire) play(table *Table, c packetCase, v6 bool) {
	list := c.ruleset(w.t, v6)
	w.apply(table, list)
	w.forget()
	counts := map[Rule]uint64{}
	for _, text := range c.packets {
		_, hits := w.machine.deliver(list, w.expect(text, v6))
		for _, r := range hits {
			counts[r.normal()]++
		}
	}
	kept, err := table.List(w.t.Context())
	must(w.t, err)
	for _, s := range kept {
		if s.Packets != counts[s.Rule.normal()] {
			w.t.Errorf("%s: %d packets counted, want %d", s.Rule, s.Packets, counts[s.Rule.normal()])
		}
		delete(counts, s.Rule.normal())
	}
	for _, r := range slices.SortedFunc(maps.Keys(counts), func(a, b Rule) int { return cmp.Compare(a.String(), b.String()) }) {
		w.t.Errorf("%s is not there", r)
	}
}

// expect sends a packet and compares what becomes of it, see packetCase.
func (w *wire) expect(text string, v6 bool) packet {
	w.t.Helper()
	e, err := parseExpected(text, v6)
	must(w.t, err)
	p := w.fresh(e.packet)
	if e.want.src.Port() == e.src.Port() {
		e.want.src = withPort(e.want.src, p.src.Port())
	}
	got, err := w.probe(p, patience(e.want))
	if err != nil || !got.is(e.want) {
		w.t.Errorf("%s\narrived: %s, %v", text, got, err)
	}
	return e.packet
}
