package userspace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

var background = context.Background()

// script is a table with one service, whose destinations are named a to z, and
// plays events on it.
type script struct {
	t    testing.TB
	e    *Engine
	s    *service
	now  time.Duration
	n    int // connections so far
	open map[string][]*connection
}

func newScript(t testing.TB, wanted ipvs.Service) *script {
	t.Helper()
	e, err := Open(Config{TableOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if wanted.ID == (ipvs.ServiceID{}) {
		wanted.ID = ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")}
	}
	if err := e.AddService(background, wanted); err != nil {
		t.Fatal(err)
	}
	return &script{t: t, e: e, s: e.services[wanted.ID], open: map[string][]*connection{}}
}

func nameOf(d *destination) string {
	if d == nil {
		return "."
	}
	return string(rune('a' + d.Addr.Addr().As4()[3]))
}

func addrOf(name string) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, name[0] - 'a'}), 80)
}

// settings reads "a2" and "a2^5", a weight and an upper threshold.
func (p *script) settings(text string) ipvs.Destination {
	weight, upper, _ := strings.Cut(text[1:], "^")
	d := ipvs.Destination{Addr: addrOf(text), Forward: ipvs.ForwardMasq}
	var err error
	if d.Weight, err = strconv.Atoi(weight); err != nil {
		p.t.Fatal(err)
	}
	if upper != "" {
		n, err := strconv.Atoi(upper)
		if err != nil {
			p.t.Fatal(err)
		}
		d.Upper = uint32(n)
	}
	return d
}

// connect schedules a connection from a client of its own.
func (p *script) connect() *connection {
	p.n++
	client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(p.n >> 8), byte(p.n)}), 40000)
	return p.s.admit(flow{client: client, virtual: p.s.ID.Addr, now: p.now}, nil)
}

// play does what the words say, in order:
//
//	+a2     add a with weight 2
//	~a0     update a to weight 0
//	-a      remove a
//	=abc.   four connections that end at once, and who gets them (. nobody)
//	*abc    three connections that stay
//	/a      the oldest connection of a ends
func (p *script) play(text string) {
	p.t.Helper()
	for _, word := range strings.Fields(text) {
		var err error
		switch rest := word[1:]; word[0] {
		case '+':
			err = p.e.AddDestination(background, p.s.ID, p.settings(rest))
		case '~':
			err = p.e.UpdateDestination(background, p.s.ID, p.settings(rest))
		case '-':
			err = p.e.RemoveDestination(background, p.s.ID, addrOf(rest))
		case '/':
			p.open[rest][0].leave(p.now)
			p.open[rest] = p.open[rest][1:]
		case '=', '*':
			p.connections(word[0] == '*', rest)
		default:
			p.t.Fatalf("what is %q?", word)
		}
		if err != nil {
			p.t.Fatalf("%s: %v", word, err)
		}
	}
}

func (p *script) connections(stay bool, want string) {
	p.t.Helper()
	got := ""
	for range want {
		c := p.connect()
		if c == nil {
			got += "."
			continue
		}
		name := nameOf(c.dest)
		got += name
		if stay {
			p.open[name] = append(p.open[name], c)
		} else {
			c.leave(p.now)
		}
	}
	if got != want {
		p.t.Errorf("%s: got %s, want %s", p.s.Scheduler, got, want)
	}
}

func TestChoices(t *testing.T) {
	for _, tc := range []struct {
		name      string
		scheduler ipvs.Scheduler
		script    string
	}{
		{"the newest is first", "rr", "+a1 +b1 +c1 =cbacba"},
		{"weights do not count, but for 0", "rr", "+a3 +b0 +c1 =cacac"},
		{"one that is added comes after the whole round", "rr", "+a1 +b1 +c1 =cb +d1 =adcb"},
		{"the place moves to the one before a removed one", "rr", "+a1 +b1 +c1 =cb -b =aca"},
		{"and to the head with the first", "rr", "+a1 +b1 +c1 =c -c =bab"},
		{"one before the place is removed", "rr", "+a1 +b1 +c1 =cb -c =abab"},
		{"one behind the place is removed", "rr", "+a1 +b1 +c1 =cb -a =cbc"},
		{"an update moves nothing", "rr", "+a1 +b1 +c1 =cb ~b0 ~a2 =acac"},
		{"a round of one", "rr", "+a1 =aaa ~a0 =.. ~a1 =a -a =."},
		{"a full one is passed over", "rr", "+a1 +b1^2 *baba =aaa /b =bab"},
		{"nobody", "rr", "=."},

		// Destinations that are added one by one begin with the round that asks for 1.
		{"rounds from the highest weight down", "wrr", "+a1 +b2 +c4 =cba =cccbcba =cccbcba"},
		{"the greatest common divisor", "wrr", "+a2 +b4 =ba =bba =bba"},
		{"equal weights", "wrr", "+a3 +b3 +c3 =cbacba"},
		{"a change begins at the head, in the same round", "wrr", "+a1 +b2 +c4 =cbac ~a1 =cccbcba"},
		{"a lower highest weight", "wrr", "+a1 +b2 +c8 =cbac ~c2 =cbcbacb"},
		{"another divisor, in the middle", "wrr", "+c1 +a6 +b8 =bacbbb -c =bbabababba"},
		{"no weight", "wrr", "+a0 +b0 =. ~b1 =bb"},
		{"full ones", "wrr", "+a1 +b3^1 +c2 *cb =accacc"},
		{"all full", "wrr", "+a1^1 +b3^1 *ba =... /b *b =. /a *a"},
		{"a huge weight that is full", "wrr", "+a1 +b2147483647^1 *b =aaa /b =bbb"},
		{"huge weights without a divisor", "wrr", "+a2147483646^1 +b2147483647^1 *ba =. +c1 =ccc"},

		{"the least", "lc", "+a1 +b9 +c1 *cbacba /b *b /a /a *aa"},
		{"weight 0", "lc", "+a1 +b0 *aaa ~b1 *bbbb"},

		{"the least for its weight", "wlc", "+a1 +b2 *babbabba"},
		{"the first of equals", "wlc", "+a1 +b1 +c1 *cbacba"},
		{"full ones do not count", "wlc", "+a1 +b8^2 *babaa /b *ba"},
		{"weight 0 does not count", "wlc", "+b0 +a1 *aa ~b1 *bba"},

		{"the one with the new connection", "sed", "+a1 +b3 *bbbab"},
		{"who is idle", "nq", "+a1 +b3 *babb"},
		{"who is idle and full", "nq", "+a1^1 +b3 *babbbb /a *a"},

		{"the heaviest", "fo", "+a1 +b3 +c2 *bbb ~b0 *cc ~b4 *b -b *c"},
		{"the first of the heaviest", "fo", "+a3 +b3 +c1 *bb"},
		{"the heaviest that is not full", "fo", "+a1 +b3^2 *bba /b *b"},

		{"one more than the weight", "ovf", "+a1 +b2 *bbbaa. /b *b /a *a"},

		{"nothing", "none", "+a1 =."},
	} {
		t.Run(string(tc.scheduler)+" "+tc.name, func(t *testing.T) {
			newScript(t, ipvs.Service{Scheduler: tc.scheduler}).play(tc.script)
		})
	}
}

// TestOverhead has destinations whose connections are active, or are not: of
// equals the first is chosen.
func TestOverhead(t *testing.T) {
	for _, tc := range []struct {
		choose   choice
		inactive int
		want     string
	}{
		{leastConnections, 257, "a"},
		{leastConnections, 258, "b"},
		{weightedLeast, 257, "a"},
		{weightedLeast, 258, "b"},
		{shortestDelay, 1000, "a"},
		{neverQueue, 1000, "a"},
	} {
		idle := &destination{Destination: ipvs.Destination{Addr: addrOf("a"), Weight: 2}, inactive: tc.inactive}
		busy := &destination{Destination: ipvs.Destination{Addr: addrOf("b"), Weight: 2}, active: 1}
		if got := nameOf(tc.choose(&service{dests: []*destination{idle, busy}}, flow{})); got != tc.want {
			t.Errorf("%d inactive ones against an active one: %s", tc.inactive, got)
		}
	}
}

func TestUnknownScheduler(t *testing.T) {
	e := newScript(t, ipvs.Service{Scheduler: ipvs.RR}).e
	for _, name := range []ipvs.Scheduler{"twos", "nonsense"} {
		err := e.AddService(background, ipvs.Service{ID: ipvs.ServiceID{FWMark: 1}, Scheduler: name})
		if !errors.Is(err, ipvs.ErrNoScheduler) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "lblcr, lc, mh") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchedulerChanges(t *testing.T) {
	p := newScript(t, ipvs.Service{Scheduler: ipvs.RR})
	p.play("+a1 +b3 +c1 =c")
	update := func(sched ipvs.Scheduler) {
		t.Helper()
		if err := p.e.UpdateService(background, ipvs.Service{ID: p.s.ID, Scheduler: sched}); err != nil {
			t.Fatal(err)
		}
	}
	update(ipvs.RR)
	p.play("=b") // the same scheduler keeps its place
	update(ipvs.WRR)
	p.play("=bb")
	update(ipvs.NoScheduler)
	p.play("=.")
	update(ipvs.RR)
	p.play("=c")
	if err := p.e.UpdateService(background, ipvs.Service{ID: p.s.ID, Scheduler: "twos"}); !errors.Is(err, ipvs.ErrNoScheduler) {
		t.Errorf("twos: %v", err)
	}
	p.play("=b")
}

// many is a service with n destinations of weights 1 to 5.
func many(t testing.TB, scheduler ipvs.Scheduler, flags ipvs.Flags, n int) *script {
	t.Helper()
	p := newScript(t, ipvs.Service{Scheduler: scheduler, Flags: flags})
	for i := range n {
		d := ipvs.Destination{Addr: numbered(i), Forward: ipvs.ForwardMasq, Weight: 1 + i%5}
		if err := p.e.AddDestination(background, p.s.ID, d); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func numbered(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)
}

func TestPickAllocatesNothing(t *testing.T) {
	for scheduler := range schedulers {
		p := many(t, scheduler, ipvs.SHFallback, 10)
		f := flow{client: netip.MustParseAddrPort("198.51.100.7:4000"), virtual: p.s.ID.Addr}
		p.s.sched.pick(p.s, f)
		n := testing.AllocsPerRun(100, func() {
			f.now += time.Second
			p.s.sched.pick(p.s, f)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", scheduler, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, scheduler := range []ipvs.Scheduler{"rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh"} {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", scheduler, n), func(b *testing.B) {
				p := many(b, scheduler, 0, n)
				f := flow{client: netip.MustParseAddrPort("198.51.100.7:4000"), virtual: p.s.ID.Addr}
				b.ReportAllocs()
				for b.Loop() {
					p.s.sched.pick(p.s, f)
				}
			})
		}
	}
}

func BenchmarkMaglevFill(b *testing.B) {
	p := many(b, ipvs.MH, 0, 10)
	m := p.s.sched.(*maglev)
	b.ReportAllocs()
	for b.Loop() {
		m.fill(p.s)
	}
}
