package ipvs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestPlanConverges makes random tables into others, breaks off at a random
// change, plans again, and holds every plan to what Plan promises.
func TestPlanConverges(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		have, want := randomTable(r, 6), randomTable(r, 6)
		if r.IntN(3) == 0 { // nearly right already
			want = mutate(r, have)
		}
		policy := Policy{KeepWeights: r.IntN(2) == 0}
		switch r.IntN(3) {
		case 0:
			policy.Owns = OwnAll
		case 1:
			policy.Owns = func(id ServiceID) bool { return id.FWMark != 0 }
		}
		testPlan(t, r, seed, have, want, policy)
		if t.Failed() {
			return
		}
	}
}

func testPlan(t *testing.T, r *rand.Rand, seed uint64, have, want []Service, policy Policy) {
	t.Helper()
	table := newModelTable(have)
	goal := sorted(expected(have, want, policy))
	changes, err := Plan(table.services(), want, policy)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if n := difference(newModelTable(have), newModelTable(goal)); len(changes) != n {
		t.Errorf("seed %d: %d changes, want %d:\n%s", seed, len(changes), n, lines(changes))
	}
	broken := r.IntN(len(changes) + 1)
	execute(t, seed, table, goal, changes[:broken])
	again, err := Plan(table.services(), want, policy)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	execute(t, seed, table, goal, again)
	if got := sorted(table.services()); !reflect.DeepEqual(got, goal) {
		t.Errorf("seed %d: the table is\n%v\nwant\n%v\nafter\n%s", seed, got, goal, lines(changes))
	}
	if rest, err := Plan(table.services(), want, policy); err != nil || len(rest) != 0 {
		t.Errorf("seed %d: the table is right, and yet %v\n%s", seed, err, lines(rest))
	}
}

// execute runs changes, and fails when a service that serves, before and in the
// end, serves nobody in between.
func execute(t *testing.T, seed uint64, table modelTable, goal []Service, changes []Change) {
	t.Helper()
	final := newModelTable(goal)
	serving := make(map[ServiceID]bool)
	for id, s := range table {
		serving[id] = serves(s)
	}
	for _, c := range changes {
		if err := table.run(c); err != nil {
			t.Errorf("seed %d: %s: %v", seed, c, err)
		}
		id := c.Service.ID
		if serving[id] && serves(final[id]) && !serves(table[id]) {
			t.Errorf("seed %d: after %q the service serves nobody, in\n%s", seed, c, lines(changes))
		}
	}
}

// serves tells that a new connection finds a real server.
func serves(s *Service) bool {
	return s != nil && s.Scheduler != NoScheduler &&
		slices.ContainsFunc(s.Destinations, func(d Destination) bool { return d.Weight > 0 })
}

// expected is the table that a policy leads to.
func expected(have, want []Service, policy Policy) []Service {
	var out []Service
	had, wanted := newModelTable(have), newModelTable(want)
	for id, s := range had {
		if wanted[id] == nil && (policy.Owns == nil || !policy.Owns(id)) {
			out = append(out, *s)
		}
	}
	for id, s := range wanted {
		if old := had[id]; old != nil && policy.KeepWeights {
			for i := range s.Destinations {
				for _, d := range old.Destinations {
					if d.Addr == s.Destinations[i].Addr {
						s.Destinations[i].Weight = d.Weight
					}
				}
			}
		}
		out = append(out, *s)
	}
	return out
}

// difference counts the changes that cannot be done without.
func difference(have, want modelTable) int {
	n := 0
	for id := range have {
		if want[id] == nil {
			n++
		}
	}
	for id, w := range want {
		h := have[id]
		if h == nil {
			n += 1 + len(w.Destinations)
			if w.Scheduler == MH && len(w.Destinations) > 1 {
				n++
			}
			continue
		}
		if h.Scheduler != w.Scheduler || h.Flags != w.Flags || h.Persistence != w.Persistence {
			n++
		}
		had := make(map[netip.AddrPort]Destination)
		for _, d := range h.Destinations {
			had[d.Addr] = d
		}
		for _, d := range w.Destinations {
			if had[d.Addr] != d {
				n++
			}
			delete(had, d.Addr)
		}
		n += len(had)
	}
	return n
}

// mutate is a table with one thing or none different.
func mutate(r *rand.Rand, have []Service) []Service {
	want := newModelTable(have).services()
	if len(want) == 0 {
		return want
	}
	s := &want[r.IntN(len(want))]
	switch n := len(s.Destinations); {
	case n == 0:
	case r.IntN(2) == 0:
		s.Destinations[r.IntN(n)].Weight = r.IntN(3)
	default:
		s.Destinations = s.Destinations[1:]
	}
	return want
}

func lines(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		b.WriteString(c.String() + "\n")
	}
	return b.String()
}

// planText is the plan from rules to rules, as lines without "ipvsadm".
func planText(t *testing.T, have, want string, policy Policy) string {
	t.Helper()
	h, err := Parse(strings.NewReader(have))
	if err != nil {
		t.Fatal(err)
	}
	w, err := Parse(strings.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := Plan(h, w, policy)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(lines(changes), "ipvsadm ", "")
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name             string
		have, want, plan string
		policy           Policy
	}{
		{
			name: "what is right stays",
			have: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n",
			want: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
		},
		{
			name: "real servers are added before others go",
			have: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
			want: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n",
			plan: "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1\n-d -t 192.0.2.1:80 -r 10.0.0.1:80\n",
		},
		{
			name: "weights rise before others fall to zero",
			have: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -w 0\n",
			want: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -w 0\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n",
			plan: "-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1\n-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0\n",
		},
		{
			name: "a new service comes before the old one goes",
			have: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
			want: "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1:80\n",
			plan: "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1:80 -g -w 1\n-D -t 192.0.2.1:80\n",

			policy: Policy{Owns: OwnAll},
		},
		{
			name: "a service that is neither wanted nor owned stays",
			have: "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:81 -s rr\n-A -t 192.0.2.1:82 -s rr\n",
			want: "-A -t 192.0.2.1:80 -s rr\n",
			plan: "-D -t 192.0.2.1:81\n",

			policy: Policy{Owns: func(id ServiceID) bool { return id.Addr.Port() == 81 }},
		},
		{
			name: "mh is given at the end to a new service",
			want: "-A -t 192.0.2.1:80 -s mh -b mh-port\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n",
			plan: "-A -t 192.0.2.1:80 -s none -b flag-2\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1\n-E -t 192.0.2.1:80 -s mh -b mh-port\n",
		},
		{
			name: "mh is given at the end to a service of another scheduler",
			have: "-A -t 192.0.2.1:80 -s rr\n",
			want: "-A -t 192.0.2.1:80 -s mh\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
			plan: "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n-E -t 192.0.2.1:80 -s mh\n",
		},
		{
			name: "mh is taken first from a service that gets another scheduler",
			have: "-A -t 192.0.2.1:80 -s mh\n",
			want: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
			plan: "-E -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n",
		},
		{
			name: "a live service of mh never goes through none",
			have: "-A -t 192.0.2.1:80 -s mh\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n",
			want: "-A -t 192.0.2.1:80 -s mh\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n-a -t 192.0.2.1:80 -r 10.0.0.3:80\n",
			plan: "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1\n-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1\n-d -t 192.0.2.1:80 -r 10.0.0.1:80\n",
		},
		{
			name: "an update keeps the engine, the thresholds and the tunnel",
			have: "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip\n-a -u 192.0.2.1:5060 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 -x 9 -y 8\n",
			want: "-A -u 192.0.2.1:5060 -s wrr -p 60 --pe sip\n-a -u 192.0.2.1:5060 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 -x 9 -y 8 -w 5\n",
			plan: "-E -u 192.0.2.1:5060 -s wrr -p 60 --pe sip\n-e -u 192.0.2.1:5060 -r 10.0.0.1:5060 -i -w 5 --tun-type gue --tun-port 6080 -x 9 -y 8\n",
		},
		{
			name: "weights that are there stay on request",
			have: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -w 0\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -w 7\n",
			want: "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -x 5\n-a -t 192.0.2.1:80 -r 10.0.0.3:80\n",
			plan: "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1\n-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 7 -x 5\n",

			policy: Policy{KeepWeights: true},
		},
		{
			name: "a way of forwarding is changed in place",
			have: "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m\n",
			want: "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g\n",
			plan: "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n",
		},
		{
			name: "nothing wanted and all owned empties the table service by service",
			have: "-A -t 192.0.2.1:80\n-A -f 1 -6\n",
			plan: "-D -t 192.0.2.1:80\n-D -f 1 -6\n",

			policy: Policy{Owns: OwnAll},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := planText(t, test.have, test.want, test.policy); got != test.plan {
				t.Errorf("the plan is\n%swant\n%s", got, test.plan)
			}
		})
	}
}

func TestPlanCountsDuplicatesOfAReadingOnce(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		have, want := randomTable(r, 4), randomTable(r, 4)
		if r.IntN(2) == 0 {
			want = mutate(r, have)
		}
		once, err := Plan(have, want, Policy{Owns: OwnAll})
		if err != nil {
			t.Fatal(err)
		}
		twice := slices.Concat(have, have)
		for i := range twice {
			twice[i].Destinations = slices.Concat(twice[i].Destinations, twice[i].Destinations)
		}
		got, err := Plan(twice, want, Policy{Owns: OwnAll})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, once) {
			t.Fatalf("seed %d: with duplicates\n%swithout\n%s", seed, lines(got), lines(once))
		}
	}
}

func TestPlanRefusesWhatCannotBe(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:80")
	server := netip.MustParseAddrPort("10.0.0.1:80")
	service := Service{ID: ServiceID{Protocol: TCP, Addr: addr}}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(addr.Addr().As16()), 80)
	for _, test := range []struct {
		name string
		want []Service
		text string
	}{
		{"a service twice", []Service{service, {ID: ServiceID{Protocol: TCP, Addr: mapped}}}, "ipvs: plan TCP 192.0.2.1:80: the service is there twice"},
		{"a new real server twice", []Service{{ID: service.ID, Destinations: []Destination{{Addr: server}, {Addr: server}}}}, "ipvs: plan TCP 192.0.2.1:80 -> 10.0.0.1:80: the service has this real server twice"},
		{"an invalid service", []Service{{ID: ServiceID{Addr: addr}}}, "neither protocol nor firewall mark"},
		{"an invalid real server", []Service{{ID: service.ID, Destinations: []Destination{{Addr: server, Weight: -1}}}}, "TCP 192.0.2.1:80 -> 10.0.0.1:80: weight -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, have := range [][]Service{nil, {service}, {{ID: service.ID, Destinations: []Destination{{Addr: server}}}}} {
				changes, err := Plan(have, test.want, Policy{})
				if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("the error is %v, want %q", err, test.text)
				}
				if changes != nil {
					t.Errorf("a plan all the same: %v", changes)
				}
			}
		})
	}
}

func TestPlanKeepsNothingOfItsArguments(t *testing.T) {
	want := []Service{{
		ID:           ServiceID{FWMark: 1},
		Destinations: []Destination{{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}},
	}}
	changes, err := Plan(nil, want, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	before := lines(changes)
	want[0].Destinations[0].Weight = 5
	if after := lines(changes); after != before || changes[0].Service.Destinations != nil {
		t.Errorf("the plan changed with its argument:\n%s", after)
	}
}

// TestPlanPrints runs printed plans through Parse, after the table they start
// from: they lead where the plan leads.
func TestPlanPrints(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 3))
		have, want := randomTable(r, 5), randomTable(r, 5)
		changes, err := Plan(have, want, Policy{Owns: OwnAll})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := Format(&text, have); err != nil {
			t.Fatal(err)
		}
		text.WriteString(lines(changes))
		got, err := Parse(strings.NewReader(text.String()))
		if err != nil {
			t.Fatalf("seed %d: %v in\n%s", seed, err, text.String())
		}
		if !reflect.DeepEqual(sorted(got), sorted(want)) {
			t.Fatalf("seed %d: the printed plan leads to\n%v\nwant\n%v\nby\n%s", seed, got, want, text.String())
		}
	}
}
