package nat

import (
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

var variants = []Backend{IPTablesNFT, IPTablesLegacy}

func TestIPTablesHasRulesOfEveryKind(t *testing.T) {
	for _, b := range variants {
		t.Run(b.String(), func(t *testing.T) {
			h := labtest.Host(t, labtest.New(t), "gateway")
			table := tableOn(t, h, b)
			want := rules(t, ofEveryKind...)
			_, err := table.Apply(t.Context(), want)
			must(t, err)
			s, err := table.b.read(t.Context())
			must(t, err)
			if !s.sound {
				t.Error("it is not sound")
			}
			changes, err := table.Apply(t.Context(), want)
			if err != nil || len(changes) > 0 {
				t.Errorf("the second time: %v %v", changes, err)
			}
			must(t, table.Clear(t.Context()))
			for _, p := range []string{"iptables", "ip6tables"} {
				if left := labtest.Run(t, h, p+strings.TrimPrefix(b.String(), "iptables")+"-save", "-t", "nat"); strings.Contains(left, "LVSKIT") {
					t.Errorf("left: %s", left)
				}
			}
		})
	}
}

func TestIPTablesHasRulesOfEveryProtocol(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		var want []Rule
		for p := range 255 {
			for _, f := range families {
				want = append(want, Rule{Action: Masquerade, Family: f, Protocol: Protocol(p + 1)})
			}
		}
		table := tableOn(t, h, b)
		_, err := table.Apply(t.Context(), want)
		must(t, err)
		s, err := table.b.read(t.Context())
		must(t, err)
		if changes, err := Plan(s.list(), want); err != nil || !s.sound || len(changes) > 0 {
			t.Errorf("sound %v, changes %v %v", s.sound, changes, err)
		}
	})
}
