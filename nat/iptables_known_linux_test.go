package nat

import (
	"slices"
	"testing"

	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// What is known of our own writes is what would be read, and is not read while nobody
// else writes.
func TestIPTablesNFTKnowsWhatItWrote(t *testing.T) {
	h := labtest.Host(t, labtest.New(t), "gateway")
	table := tableOn(t, h, IPTablesNFT)
	x := table.b.(*xtables)
	known := func(wanted bool) {
		t.Helper()
		last := x.last
		s, err := x.current(t.Context())
		must(t, err)
		if (s == last) != wanted {
			t.Errorf("known: %v", s == last)
		}
		mine := x.ipt
		fresh, err := x.read(t.Context())
		must(t, err)
		if s.there != fresh.there || s.sound != fresh.sound || !slices.Equal(s.list(), fresh.list()) {
			t.Errorf("known: %v %v\n%sread: %v %v\n%s", s.there, s.sound, lines(s.list()), fresh.there, fresh.sound, lines(fresh.list()))
		}
		for i := range mine {
			if !mine[i].same(&x.ipt[i]) {
				t.Errorf("known: %+v\nread: %+v", mine[i], x.ipt[i])
			}
		}
	}
	want := rules(t, ofEveryKind...)
	for _, list := range [][]Rule{want, want[2:9], want[4:7], want[16:], nil, want} {
		_, err := table.Apply(t.Context(), list)
		must(t, err)
		known(true)
	}
	must(t, table.Remove(t.Context(), want[3], want[14]))
	known(true)
	must(t, table.Add(t.Context(), want[14], want[3]))
	known(true)
	labtest.Run(t, h, "iptables-nft", "-t", "nat", "-D", "LVSKIT-POST", "1")
	known(false)
	must(t, table.Add(t.Context(), rules(t, web2)...))
	known(true)
	must(t, table.Clear(t.Context()))
	known(false)
}
