package nat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestPackets(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		w := newWire(t)
		table := w.table(b)
		for i, c := range packetCases {
			for _, v6 := range []bool{false, true} {
				if b != NFTables && leftOut(i, 11) {
					continue
				}
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
	w.forget()
	w.apply(table, list)
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

// Ports that cannot be foretold are others than those that the client had, though those
// are free, and in the range.
func TestRandomPorts(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		w := newWire(t)
		table := w.table(b)
		for i, text := range []string{
			"snat: source {inside} to {vip} random",
			"snat: tcp source {inside} to {vip:60000-65535} random",
			"masquerade: source {inside} random",
			"masquerade: tcp source {inside} to *:60000-65535 random",
		} {
			for _, v6 := range []bool{false, true} {
				if leftOut(i, 3) {
					continue
				}
				for _, random := range []bool{true, false} {
					text := text
					if !random {
						text = strings.TrimSuffix(text, " random")
					}
					w.forget()
					w.apply(table, rules(t, expand(text, v6)))
					kept := 0
					const connections = 8
					for i := range uint16(connections) {
						e, err := parseExpected("tcp pc:60000 > far:80 = vip:60000-65535 > far:80 by eth1", v6)
						must(t, err)
						e.src = withPort(e.src, 61_000+i)
						got, err := w.probe(e.packet, patience(e.want))
						must(t, err)
						if got.src.Port() == e.src.Port() {
							kept++
						}
					}
					if random && kept == connections || !random && kept != connections {
						t.Errorf("%s: %d of %d ports were kept", expand(text, v6), kept, connections)
					}
				}
			}
		}
	})
}
