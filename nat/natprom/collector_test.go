package natprom_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/lvskit/lvskit/nat"
	"github.com/lvskit/lvskit/nat/natprom"
)

// table is one whose rules are given.
type table struct {
	name string

	mu   sync.Mutex // guards the rest
	list []nat.RuleStatus
	err  error
}

func (t *table) Name() string         { return t.name }
func (t *table) Backend() nat.Backend { return nat.IPTablesNFT }

func (t *table) Stats() nat.Stats {
	return nat.Stats{Repairs: 3, FailedRepairs: 2, ForgottenFlows: 1}
}

func (t *table) List(context.Context) ([]nat.RuleStatus, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list, t.err
}

func status(text string, packets, bytes uint64) nat.RuleStatus {
	r, err := nat.ParseRule(text)
	if err != nil {
		panic(err)
	}
	return nat.RuleStatus{Rule: r, Packets: packets, Bytes: bytes}
}

func gateway() *table {
	return &table{name: "gateway", list: []nat.RuleStatus{
		status("dnat web: tcp destination 12.0.0.1:80 to 10.0.0.1:80", 1, 60),
		status("dnat web: tcp destination 12.0.0.2:80 to 10.0.0.1:80", 2, 120),
		status("snat web: source 10.0.0.1 to 12.0.0.1", 4, 240),
		status("dnat: udp destination 12.0.0.1:53 to 10.0.0.1:53", 8, 480),
		status("dnat: udp destination 12.0.0.2:53 to 10.0.0.1:53", 16, 960),
		status("masquerade: source 10.0.0.0/8 out eth1", 32, 1920),
	}}
}

// lines are all metrics without help and type.
func lines(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text, out strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestATableAsMetrics(t *testing.T) {
	got := lines(t, natprom.NewCollector(gateway()))
	want := `lvskit_nat_backend_info{backend="iptables-nft",table="gateway"} 1
lvskit_nat_failed_repairs_total{table="gateway"} 2
lvskit_nat_forgotten_flows_total{table="gateway"} 1
lvskit_nat_repairs_total{table="gateway"} 3
lvskit_nat_rule_bytes_total{action="dnat",rule="",table="gateway"} 1440
lvskit_nat_rule_bytes_total{action="dnat",rule="web",table="gateway"} 180
lvskit_nat_rule_bytes_total{action="masquerade",rule="",table="gateway"} 1920
lvskit_nat_rule_bytes_total{action="snat",rule="web",table="gateway"} 240
lvskit_nat_rule_packets_total{action="dnat",rule="",table="gateway"} 24
lvskit_nat_rule_packets_total{action="dnat",rule="web",table="gateway"} 3
lvskit_nat_rule_packets_total{action="masquerade",rule="",table="gateway"} 32
lvskit_nat_rule_packets_total{action="snat",rule="web",table="gateway"} 4
lvskit_nat_rules{action="dnat",table="gateway"} 4
lvskit_nat_rules{action="masquerade",table="gateway"} 1
lvskit_nat_rules{action="redirect",table="gateway"} 0
lvskit_nat_rules{action="snat",table="gateway"} 1
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(natprom.NewCollector(gateway()))
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

// However many rules have names, there are so many metrics, and nothing is missing from
// their sum.
func TestManyNames(t *testing.T) {
	g := &table{name: "gateway"}
	for i := range 5000 {
		g.list = append(g.list, status(fmt.Sprintf("dnat n%d: tcp destination 12.0.0.1:%d to 10.0.0.1", i%2500, i+1), 1, 60))
	}
	got := lines(t, natprom.NewCollector(g))
	if n := strings.Count(got, "lvskit_nat_rule_packets_total"); n != 1001 {
		t.Errorf("%d rules have metrics, want 1001", n)
	}
	for _, want := range []string{`{action="dnat",rule="",table="gateway"} 3000`, `{action="dnat",rule="n0",table="gateway"} 2`, `{action="dnat",rule="n999",table="gateway"} 2`} {
		if !strings.Contains(got, "lvskit_nat_rule_packets_total"+want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
}

// A scrape that fails says so, and the next one is well again.
func TestErrorsOfAScrape(t *testing.T) {
	broken := errors.New("the table burns")
	g, other := gateway(), gateway()
	g.err, other.name = broken, "other"
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(natprom.NewCollector(g, other))
	families, err := registry.Gather()
	if err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("%v, want that the table burns", err)
	}
	if len(families) < 7 {
		t.Errorf("only %d families of the other table are there", len(families))
	}
	g.err = nil
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
	other.name = g.name
	if _, err := registry.Gather(); err == nil {
		t.Error("two tables of one name are no error")
	}
}

func ExampleNewCollector() {
	registry := prometheus.NewRegistry()
	table, err := nat.Open(nat.Config{Name: "gateway"})
	if err != nil {
		return // a system without NAT
	}
	defer table.Close()
	registry.MustRegister(natprom.NewCollector(table))
	// http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}
