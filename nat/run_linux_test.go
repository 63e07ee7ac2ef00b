package nat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// keeper is a Table whose Run runs, and what it said.
type keeper struct {
	t     *testing.T
	table *Table
	said  chan report
	end   func()
}

// keep runs a Table that has these rules.
func keep(t *testing.T, h *lab.Host, b Backend, list []Rule) *keeper {
	t.Helper()
	tableOn(t, h, b) // or skip
	k := &keeper{t: t, said: make(chan report, 1000)}
	start := time.Now()
	table, err := Open(Config{NetNS: h.Path(), Backend: b, Interval: 200 * time.Millisecond, OnRepair: func(changes []Change, err error) {
		one := report{after: time.Since(start), err: err}
		for _, c := range changes {
			one.changes = append(one.changes, c.String())
		}
		k.said <- one
	}})
	must(t, err)
	k.table = table
	_, err = table.Apply(t.Context(), list)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := table.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	k.end = func() {
		cancel()
		running.Wait()
		table.Close()
	}
	t.Cleanup(k.end)
	return k
}

// waits for the next repair.
func (k *keeper) waits() report {
	k.t.Helper()
	select {
	case r := <-k.said:
		return r
	case <-time.After(30 * time.Second):
		k.t.Fatal("nothing is put back")
		return report{}
	}
}

// quiet says whether nothing was put back for a while.
func (k *keeper) quiet(d time.Duration) {
	k.t.Helper()
	select {
	case r := <-k.said:
		k.t.Errorf("something is put back: %v", r)
	case <-time.After(d):
	}
}

// TestRunOnTheKernel has others spoil the rules in all ways.
func TestRunOnTheKernel(t *testing.T) {
	const (
		web  = "dnat web: tcp destination 12.0.0.1:3344 to 192.168.160.100:8080"
		dns  = "dnat dns: udp destination 12.0.0.1:53 to 192.168.160.100"
		six  = "dnat six: tcp destination [2001:db8::1]:80 to fd00::100"
		hair = "dnat hair: tcp destination 12.0.0.1:81 to 192.168.160.100 hairpin 192.168.160.0/24"
		in   = "dnat in: tcp in eth1 destination 12.0.0.1:100-110 to 192.168.160.100:80"
		snat = "snat out: source 192.168.160.0/24 out eth1 to 12.0.0.1"
		masq = "masquerade out: source fd00::/64 out eth1"
	)
	all := []string{web, dns, six, hair, in, snat, masq}
	type spoil struct {
		name, do string
		gone     []string // nil: not told which
	}
	spoils := map[Backend][]spoil{
		NFTables: {
			{"the rule set is flushed", "nft flush ruleset", all},
			{"the table is deleted", "nft delete table inet lvskit", all},
			{"an element is deleted", "nft delete element inet lvskit published4 '{ 12.0.0.1 . tcp . 3344 }'", []string{web}},
			{"a map is flushed", "nft flush map inet lvskit published4", []string{web, dns, hair}},
			{"a rule is deleted", "nft delete rule inet lvskit source handle $(nft -a list chain inet lvskit source | sed -n 's/.*fd00::.*handle //p')", []string{masq}},
			{"a chain is flushed", "nft flush chain inet lvskit source", []string{snat, masq}},
			{"a rule is put before ours", "nft insert rule inet lvskit prerouting accept", nil},
			{"a base chain is emptied", "nft flush chain inet lvskit postrouting", nil},
			{"a base chain is deleted", "nft 'flush chain inet lvskit output; delete chain inet lvskit output'", nil},
			{"a hairpin is emptied", "nft flush set inet lvskit hairpin4_24", nil},
			{"the table sleeps", "nft 'add table inet lvskit { flags dormant; }'", nil},
		},
		IPTables: {
			{"all of nat is flushed", "X-F; X-X; 6-F; 6-X", all},
			{"one family is flushed", "6-F; 6-X", []string{six, masq}},
			{"the rules are flushed and the chains stay", "X-F", []string{web, dns, hair, in, snat}},
			{"a chain is flushed", "X-F LVSKIT-POST", nil},
			{"a jump is removed", "X-D PREROUTING 1", nil},
			{"a rule is removed", "X-D LVSKIT-PUB 1", []string{web}},
			{"a rule of others is in a chain of ours", "X-A LVSKIT-PRE -p tcp --dport 9 -j ACCEPT", nil},
		},
	}
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRig(t)
		list := rules(t, all...)
		kind := b
		if b != NFTables {
			kind = IPTables
		}
		r.serve(r.web, "web", "53")
		r.serve(r.gateway, "pub", "53")
		c := newClient(t, r.client, "12.0.0.1:53")
		for n, s := range spoils[kind] {
			if need.Emulated() && n%3 > 0 {
				continue
			}
			k := keep(t, r.gateway, b, list)
			c.wants("at first", "12.0.0.12 > 192.168.160.100:53")
			newClient(t, r.client, "12.0.0.1:53").wants("another flow", "12.0.0.12 > 192.168.160.100:53")
			k.quiet(50 * time.Millisecond)
			do := strings.NewReplacer("X-", b.program(false)+" -t nat -", "6-", b.program(true)+" -t nat -").Replace(s.do)
			start := time.Now()
			labtest.Run(t, r.gateway, "sh", "-ec", do)
			did := time.Since(start)
			got := k.waits()
			took := time.Since(start)
			if got.err != nil {
				t.Errorf("%s: %v", s.name, got.err)
			}
			var want []string
			for _, line := range all {
				if slices.Contains(s.gone, line) {
					want = append(want, "+ "+ruleOf(t, line).String())
				}
			}
			quiet := 300 * time.Millisecond
			if need.Emulated() {
				quiet *= 10
			}
			for more := true; more; { // a slow program is seen at work
				select {
				case again := <-k.said:
					got.changes = append(got.changes, again.changes...)
				case <-time.After(quiet):
					more = false
				}
			}
			slices.Sort(want)
			slices.Sort(got.changes)
			if s.gone != nil && !slices.Equal(got.changes, want) {
				t.Errorf("%s: told of\n%s\nwant\n%s", s.name, strings.Join(got.changes, "\n"), strings.Join(want, "\n"))
			}
			must(t, k.table.do(t.Context(), "test", func() error {
				state, err := k.table.b.read(t.Context())
				if err != nil {
					return err
				}
				changes, err := Plan(state.list(), list)
				if err == nil && (len(changes) > 0 || !state.sound) {
					err = fmt.Errorf("%s: %v is missing, sound is %v", s.name, changes, state.sound)
				}
				return err
			}))
			if s.name == "one family is flushed" { // the other one is not written at all
				list, err := k.table.List(t.Context())
				must(t, err)
				if i := slices.IndexFunc(list, func(r RuleStatus) bool { return r.Name == "dns" }); i < 0 || list[i].Packets == 0 {
					t.Errorf("%s: the counters of the other one are gone", s.name)
				}
			}
			t.Logf("%-40s done in %3d ms, put back after %3d ms", s.name, did.Milliseconds(), took.Milliseconds())
			c.wants(s.name, "12.0.0.12 > 192.168.160.100:53")
			k.end()
		}
	})
}

// program is the backend's program for a family.
func (b Backend) program(v6 bool) string {
	name := "iptables"
	if v6 {
		name = "ip6tables"
	}
	return name + strings.TrimPrefix(b.String(), "iptables")
}

// TestRunBesideAnother program that reloads its own rules all the time.
func TestRunBesideAnother(t *testing.T) {
	need.Program(t, "nft", "iptables-nft")
	beside := func(t *testing.T, b Backend) {
		h := labtest.Host(t, labtest.New(t), "gateway")
		var list []Rule
		for i := range 1000 {
			list = append(list, rules(t, fmt.Sprintf("dnat: tcp destination 12.0.0.1:%d to 10.0.0.1", i+1))...)
		}
		k := keep(t, h, b, list)
		time.Sleep(200 * time.Millisecond)
		p := labtest.Start(t, h, "", "sh", "-c", `while :; do
			echo 'add table inet other; delete table inet other; table inet other { chain c { type nat hook prerouting priority -100; tcp dport 9 redirect to :10; }; }' | nft -f -
			sleep 0.05
		done`)
		wall, start := time.Now(), cpu(t)
		k.quiet(1500 * time.Millisecond)
		t.Logf("processor: %v in %v", cpu(t)-start, time.Since(wall))
		if used := cpu(t) - start; used > time.Since(wall)/4 && !need.Emulated() {
			t.Errorf("Run took %v in %v", used, time.Since(wall))
		}
		// And what is ours is put back in the midst of it.
		before := time.Now()
		if b == NFTables {
			labtest.Run(t, h, "nft", "delete", "table", "inet", "lvskit")
		} else {
			labtest.Run(t, h, b.program(false), "-w", "-t", "nat", "-F")
		}
		if r := k.waits(); r.err != nil || len(r.changes) != len(list) {
			t.Errorf("%d put back, %v", len(r.changes), r.err)
		}
		t.Logf("put back after %v", time.Since(before))
		p.Kill()
		if out := labtest.Run(t, h, "nft", "list", "ruleset"); !strings.Contains(out, "table inet other") {
			t.Error("the other program's table is gone")
		}
	}
	for _, b := range []Backend{NFTables, IPTablesNFT, IPTablesLegacy} { // not side by side: the processor's time is that of all
		t.Run(b.String(), func(t *testing.T) { beside(t, b) })
	}
}

// cpu is the processor time of this process and of the programs it has run.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		must(t, unix.Getrusage(who, &u))
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total
}

// TestRunWhereTheKernelSaysNo has another program own a table of our name.
func TestRunWhereTheKernelSaysNo(t *testing.T) {
	t.Parallel()
	need.Program(t, "nft")
	need.Kernel(t, 5, 12)
	h := labtest.Host(t, labtest.New(t), "gateway")
	k := keep(t, h, NFTables, rules(t, "masquerade: ipv4 out eth1"))
	labtest.Start(t, h, "", "sh", "-c", "(echo 'delete table inet lvskit'; echo 'add table inet lvskit { flags owner; }'; sleep 3) | nft -i")
	r := k.waits()
	if r.err == nil {
		t.Fatalf("it was put back: %v", r)
	}
	t.Log(r.err)
	for r.err != nil {
		r = k.waits()
	}
	if got := k.table.Stats(); got.Repairs != 1 || got.FailedRepairs == 0 || got.FailedRepairs > 8 {
		t.Errorf("%+v", got)
	}
}

// TestTwoProgramsOfOneName take turns, and each is told before long.
func TestTwoProgramsOfOneName(t *testing.T) {
	t.Parallel()
	h := labtest.Host(t, labtest.New(t), "gateway")
	a := keep(t, h, NFTables, rules(t, "masquerade: ipv4 out eth1"))
	b := keep(t, h, NFTables, rules(t, "masquerade: ipv4 out eth2"))
	for _, k := range []*keeper{a, b} {
		for n := 1; ; n++ {
			r := k.waits()
			if errors.Is(r.err, ErrContested) {
				t.Logf("told with repair %d after %v: %v", n, r.after.Round(time.Millisecond), r.err)
				break
			}
			if r.err != nil || n > repairsAtOnce {
				t.Fatalf("repair %d: %v", n, r.err)
			}
		}
	}
	b.end()
	for {
		r := a.waits()
		t.Logf("put back %v after %v", r.changes, r.after.Round(time.Millisecond))
		list, err := a.table.List(t.Context())
		must(t, err)
		if len(list) == 1 && list[0].Out == "eth1" {
			break
		}
	}
}
