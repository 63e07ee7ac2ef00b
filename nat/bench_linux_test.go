package nat

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// The benchmarks beside peers are for a machine that does nothing else; where it
// does, the processor time says more than the other. All of them take some minutes:
//
//	go test ./nat -run '^$' -bench 'Rules|OneByOne|Connect|Memory' -benchtime 1x -rounds 11
var (
	benchNames  = flag.String("contestants", "", "contestants of the benchmarks, separated by commas; all by default")
	benchRounds = flag.Int("rounds", 5, "how often each contestant of a benchmark runs, in turn")
)

// benchCount is a number of rules, or less where all is slow.
func benchCount(n int) int {
	if need.Emulated() {
		return n / 10
	}
	return n
}

// benchPorts are n published ports. Sets of other numbers have other ports.
func benchPorts(n, set int) []Rule {
	const perAddress = 10_000
	rules := make([]Rule, n)
	for i := range rules {
		rules[i] = Rule{
			Action: DNAT, Protocol: TCP,
			Destination:     prefixOf(netip.AddrFrom4([4]byte{12, 0, byte(i / perAddress), 1})),
			DestinationPort: Port(uint16(1000 + set*perAddress + i%perAddress)),
			To:              netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
			ToPort:          Port(8080),
		}
	}
	return rules
}

// A contestant publishes ports in a network namespace, in its own way. What it needs
// in text or types of its own is made before the clock starts: its functions return
// what is to be measured. It does not do what is nil.
type contestant struct {
	name        string
	replace     func([]Rule) func() error // whatever was there
	slow        bool                      // replace is a program or more for each rule
	add, remove func(Rule) func() error
	list        func() (n int, err error) // with counters, as far as it has them
	programs    *programs                 // nil: it works in this process, or starts its own
}

// enlist starts contestants that are asked for, each on the host that it gets.
func enlist(b *testing.B, host func(name string) *lab.Host) (all []*contestant) {
	b.Helper()
	// That of the machine is for the machine's rules, and others may hold it.
	b.Setenv("XTABLES_LOCKFILE", filepath.Join(b.TempDir(), "xtables.lock"))
	asked := func(name string) bool {
		return *benchNames == "" || slices.Contains(strings.Split(*benchNames, ","), name)
	}
	for _, backend := range []Backend{NFTables, IPTablesNFT, IPTablesLegacy} {
		if name := "lvskit-" + backend.String(); asked(name) {
			all = appendContestant(b, all, name, func() (*contestant, error) { return newOurs(b, host(name), backend) })
		}
	}
	for _, variant := range []string{"iptables-nft", "iptables-legacy"} {
		library := "go-" + variant
		if !asked(variant) && !asked(library) {
			continue
		}
		h := host(variant)
		all = appendContestant(b, all, variant, func() (*contestant, error) { return newIPTables(h, variant) })
		if asked(library) {
			all = appendContestant(b, all, library, func() (*contestant, error) { return newGoIPTables(h, variant) })
		}
	}
	for name, make := range map[string]func(*lab.Host) (*contestant, error){"nft": newNFT, "knftables": newKnftables, "google-nftables": newGoogle} {
		if asked(name) {
			all = appendContestant(b, all, name, func() (*contestant, error) { return make(host(name)) })
		}
	}
	slices.SortStableFunc(all, func(x, y *contestant) int { return cmp.Compare(rank(x.name), rank(y.name)) })
	return all
}

// rank is the order in which contestants run and are printed.
func rank(name string) int {
	return slices.Index([]string{
		"routed", "lvskit-nftables", "lvskit-iptables-nft", "lvskit-iptables-legacy", "iptables-nft", "iptables-legacy",
		"go-iptables-nft", "go-iptables-legacy", "nft", "knftables", "google-nftables",
	}, name)
}

func appendContestant(b *testing.B, all []*contestant, name string, start func() (*contestant, error)) []*contestant {
	b.Helper()
	c, err := start()
	if errors.Is(err, errors.ErrUnsupported) {
		b.Logf("%s does not take part: %v", name, err)
		return all
	}
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	c.name = name
	return append(all, c)
}

// quick are those that can replace many rules in bearable time.
func quick(all []*contestant) []*contestant {
	return slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool { return c.slow })
}

// hosts makes a host for each contestant.
func hosts(b *testing.B) func(name string) *lab.Host {
	l := labtest.New(b)
	need.Program(b, "nft", "iptables-nft-restore", "iptables-legacy-restore")
	return func(name string) *lab.Host { return labtest.Host(b, l, name) }
}

// A cost is the time that something took, and the processor time of this process
// and its children for it, which is less disturbed by others on the machine.
type cost struct{ wall, processor time.Duration }

func clock(b *testing.B, f func() error) (c cost) {
	b.Helper()
	runtime.GC() // what others left
	before, begun := benchProcessorTime(b), time.Now()
	err := f()
	c = cost{time.Since(begun), benchProcessorTime(b) - before}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func benchProcessorTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		must(b, unix.Getrusage(who, &u))
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// ours is the contestant that others are compared with.
const ours = "lvskit-nftables"

// A scoreboard has all that was measured.
type scoreboard struct{ scores []*score }

// A score is what contestants did in one discipline, in one unit.
type score struct {
	discipline, unit string
	values           map[string][]float64
}

func (s *scoreboard) find(discipline, unit string) *score {
	i := slices.IndexFunc(s.scores, func(row *score) bool { return row.discipline == discipline && row.unit == unit })
	if i < 0 {
		i = len(s.scores)
		s.scores = append(s.scores, &score{discipline, unit, map[string][]float64{}})
	}
	return s.scores[i]
}

func (s *scoreboard) add(discipline, contestant, unit string, v float64) {
	row := s.find(discipline, unit)
	row.values[contestant] = append(row.values[contestant], v)
}

// cost adds a cost in milliseconds, of one of n.
func (s *scoreboard) cost(discipline, contestant string, c cost, n int) {
	s.add(discipline, contestant, "ms", c.wall.Seconds()*1000/float64(n))
	s.add(discipline, contestant, "cpu-ms", c.processor.Seconds()*1000/float64(n))
}

// median is that of a contestant, zero if it did not take part.
func (s *score) median(name string) float64 {
	list := slices.Sorted(slices.Values(s.values[name]))
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}

// relative tells a unit that is a ratio itself.
func (s *score) relative() bool { return strings.HasPrefix(s.unit, "x") }

// report reports the medians of a discipline, and how many times ours others are.
func (s *scoreboard) report(b *testing.B, discipline string) {
	for _, row := range s.scores {
		if row.discipline != discipline {
			continue
		}
		for name := range row.values {
			b.ReportMetric(row.median(name), name+"-"+row.unit)
			if v := row.median(ours); v > 0 && name != ours && !row.relative() {
				b.ReportMetric(row.median(name)/v, name+"/"+ours+"-"+row.unit)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// String is a table for people: medians, and how many times ours they are.
func (s *scoreboard) String() string {
	var text strings.Builder
	var disciplines []string
	for _, row := range s.scores {
		if !slices.Contains(disciplines, row.discipline) {
			disciplines = append(disciplines, row.discipline)
		}
	}
	for _, d := range disciplines {
		rows := slices.DeleteFunc(slices.Clone(s.scores), func(row *score) bool { return row.discipline != d })
		fmt.Fprintf(&text, "\n%-24s", d)
		names := map[string]bool{}
		for _, row := range rows {
			fmt.Fprintf(&text, "%12s%8s", row.unit, "")
			for name := range row.values {
				names[name] = true
			}
		}
		sorted := []string{}
		for name := range names {
			sorted = append(sorted, name)
		}
		slices.SortFunc(sorted, func(x, y string) int { return cmp.Compare(rank(x), rank(y)) })
		for _, name := range sorted {
			fmt.Fprintf(&text, "\n  %-22s", name)
			for _, row := range rows {
				text.WriteString(row.cell(name))
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}

func (s *score) cell(name string) string {
	v, own := s.median(name), s.median(ours)
	switch {
	case s.values[name] == nil:
		return strings.Repeat(" ", 20)
	case name == ours || own <= 0 || v < 0 || s.relative():
		return fmt.Sprintf("%12s%8s", significant(v), "")
	}
	return fmt.Sprintf("%12s%8s", significant(v), "x"+significant(v/own))
}

// significant writes three digits or all before the point.
func significant(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
