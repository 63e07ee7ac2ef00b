package nat

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// Variables of the environment that make the test program a victim.
const (
	victimPath    = "NAT_TEST_VICTIM_PATH"
	victimBackend = "NAT_TEST_VICTIM_BACKEND"
)

// victim applies two sets of rules in turn until it is killed, or its parent has
// been for long. It reads them, one rule a line, with an empty line between the sets.
func victim(path string) {
	text, err := io.ReadAll(os.Stdin)
	var sets [2][]Rule
	for i, lines := range strings.SplitN(string(text), "\n\n", 2) {
		for line := range strings.Lines(lines) {
			r, wrong := ParseRule(strings.TrimSpace(line))
			if wrong != nil {
				err = wrong
			}
			sets[i] = append(sets[i], r)
		}
	}
	var b Backend
	var table *Table
	if err == nil {
		err = b.UnmarshalText([]byte(os.Getenv(victimBackend)))
	}
	if err == nil {
		table, err = Open(Config{NetNS: path, Backend: b})
	}
	fmt.Println("begun")
	for i, start := 0, time.Now(); err == nil && time.Since(start) < time.Minute; i++ {
		_, err = table.Apply(context.Background(), sets[i%2])
	}
	fmt.Println(err)
}

// killed runs a victim on the gateway and kills it after a while, and waits for the end
// of all that it had started.
func (w *wire) killed(table *Table, a, b []Rule, after time.Duration) {
	w.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimPath+"="+w.host.Path(), victimBackend+"="+table.Backend().String())
	cmd.Stdin = strings.NewReader(lines(a) + "\n" + lines(b))
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	alive, end, err := os.Pipe() // its children have it too
	must(w.t, err)
	defer alive.Close()
	cmd.ExtraFiles = []*os.File{end}
	err = cmd.Start()
	end.Close()
	must(w.t, err)
	said := bufio.NewScanner(out)
	if !said.Scan() || said.Text() != "begun" {
		w.t.Errorf("victim: %q", said.Text())
	}
	time.Sleep(after) // the moment is what is tested
	cmd.Process.Kill()
	for said.Scan() {
		w.t.Errorf("victim: %s", said.Text())
	}
	cmd.Wait()
	alive.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := alive.Read(make([]byte, 1)); err != io.EOF {
		w.t.Errorf("what the victim has started goes on: %v", err)
	}
}

// firstLoaded is the first port that load publishes.
const firstLoaded = 10_000

// load is a set that takes a while: ports of both families that lead to a place, and
// some rules of all kinds.
func (r random) load(n int, to string) (list []Rule) {
	list = r.ruleset(10)
	for i := range n {
		for _, v6 := range []bool{false, true} {
			f := map[bool]Family{false: IPv4, true: IPv6}[v6]
			rule := Rule{Action: DNAT, Protocol: TCP, DestinationPort: Port(uint16(firstLoaded + i)), ToPort: Port(8080)}
			rule.Destination, rule.To = prefixOf(placeOf("vip", f)), placeOf(to, f)
			list = append(list, rule)
		}
	}
	return list
}

// Killed at any moment, a program leaves all of what was there or all of what was to be,
// with iptables in each family, and the next one goes on from there.
func TestKilledAtAnyMoment(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		w := newWire(t)
		r := newRandom(t)
		before := r.ruleset(5)
		w.apply(w.table(b), before)
		found := map[string]int{}
		for range sets(8) {
			first, second := r.load(100, "web"), r.load(100, "db")
			if need.Emulated() {
				first, second = r.load(10, "web"), r.load(10, "db")
			}
			if r.IntN(4) == 0 {
				second = nil
			}
			table := w.table(b) // of a program that knows nothing of what was before
			w.killed(table, first, second, r.moment(b))
			found[w.whole(table, before, first, second)]++
			before = pick(r, first, second, nil)
			w.apply(table, before)
			if err := sameRules(t, table, before); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				if err := w.agree(before, w.fresh(r.packet(before))); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("left of before, first and second: %v", found)
	})
}

// moment is some time within the first few changes.
func (r random) moment(b Backend) time.Duration {
	most := 120 * time.Millisecond
	if b != NFTables {
		most = 400 * time.Millisecond
	}
	if need.Emulated() {
		most *= 10
	}
	return time.Duration(r.Int64N(int64(most)))
}

// whole tells which of the sets is there, by what List and packets say of each family.
// With nftables it is the same one in both.
func (w *wire) whole(table *Table, sets ...[]Rule) string {
	w.t.Helper()
	kept := listed(w.t, table)
	is := func(set []Rule, families ...Family) bool {
		return !slices.ContainsFunc(families, func(f Family) bool { return !equalKinds(ofFamily(f, kept), ofFamily(f, set)) })
	}
	both := slices.IndexFunc(sets, func(s []Rule) bool { return is(s, IPv4, IPv6) })
	if table.Backend() == NFTables && both < 0 {
		w.t.Fatalf("neither set is there whole:\n%s", lines(kept))
	}
	names := []string{"before", "first", "second"}
	var found []string
	for _, family := range []Family{IPv4, IPv6} {
		i := both
		if i < 0 {
			i = slices.IndexFunc(sets, func(s []Rule) bool { return is(s, family) })
		}
		if i < 0 {
			w.t.Fatalf("neither set of family %d is there whole:\n%s", family, lines(kept))
		}
		found = append(found, names[i])
		for _, port := range []uint16{firstLoaded, firstLoaded + 1, firstLoaded + 9} {
			p := packet{protocol: TCP, in: "eth1", src: netip.AddrPortFrom(placeOf("client", family), highPorts.First)}
			p.dst = netip.AddrPortFrom(placeOf("vip", family), port)
			if err := w.agree(sets[i], w.fresh(p)); err != nil {
				w.t.Error(err)
			}
		}
	}
	return strings.Join(found, "+")
}

func placeOf(name string, f Family) netip.Addr {
	return netip.MustParseAddr(places[name][map[Family]int{IPv6: 1}[f]])
}

// ofFamily are the rules of a family.
func ofFamily(f Family, list []Rule) (out []Rule) {
	for _, r := range list {
		if r.family() == f {
			out = append(out, r)
		}
	}
	return out
}

// equalKinds tells whether rules do the same.
func equalKinds(a, b []Rule) bool {
	x, y := byKind(a), byKind(b)
	for kind := range x {
		if !slices.Equal(x[kind], y[kind]) {
			return false
		}
	}
	return len(a) == len(b)
}
