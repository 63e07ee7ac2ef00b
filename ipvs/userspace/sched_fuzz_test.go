package userspace

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// FuzzSchedulers plays what the bytes say, and looks at each choice.
func FuzzSchedulers(f *testing.F) {
	names := []ipvs.Scheduler{"rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc", "lblcr", "none"}
	for i := range names {
		f.Add(uint8(i), uint8(i), []byte("+a1+b2+c0****~a0**-b*/*+d9******^c2~c1*****-a-c-d**+a1*"))
		f.Add(uint8(i), uint8(i*7), []byte{0, 1, 2, 0, 3, 4, 0, 5, 6, 9, 9, 9, 9, 1, 1, 0, 9, 9, 2, 1, 9, 9, 3, 9})
	}
	f.Fuzz(func(t *testing.T, scheduler, flags uint8, events []byte) {
		s := ipvs.Service{Scheduler: names[int(scheduler)%len(names)], Flags: ipvs.Flags(flags&7) << 3}
		if flags&8 != 0 {
			s.Persistence = ipvs.Persistence{Timeout: time.Minute, Mask: 24}
		}
		p := newScript(t, s)
		for len(events) >= 3 {
			fuzzEvent(p, events[0], events[1], events[2])
			events = events[3:]
		}
		for _, conns := range p.open {
			for _, c := range conns {
				c.leave(p.now)
			}
		}
		for _, d := range p.s.dests {
			if d.total() != 0 || d.active != 0 || d.conns.n != 0 || d.overload {
				t.Errorf("%s has %d active and %d inactive when all have left", nameOf(d), d.active, d.inactive)
			}
		}
	})
}

func fuzzEvent(p *script, what, a, b byte) {
	name := string('a' + a%6)
	wanted := ipvs.Destination{Addr: addrOf(name), Forward: ipvs.ForwardMasq, Weight: int(b >> 4), Upper: uint32(b & 3)}
	if b == 255 {
		wanted.Weight = 1<<31 - 1
	}
	there := p.s.find(wanted.Addr) != nil
	var err error
	switch what % 8 {
	case 0:
		if !there {
			err = p.e.AddDestination(background, p.s.ID, wanted)
		}
	case 1:
		if there {
			err = p.e.UpdateDestination(background, p.s.ID, wanted)
		}
	case 2:
		if there {
			err = p.e.RemoveDestination(background, p.s.ID, wanted.Addr)
			for _, c := range p.open[name] {
				c.leave(p.now)
			}
			delete(p.open, name)
		}
	case 3:
		if open := p.open[name]; len(open) > 0 {
			open[0].leave(p.now)
			p.open[name] = open[1:]
		}
	case 4:
		p.now += time.Duration(b) * time.Minute
	default:
		fuzzConnection(p, a, b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// fuzzConnection has a client connect, and looks at who got it.
func fuzzConnection(p *script, a, b byte) {
	f := flow{client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, a % 3, a, b}), uint16(b)+1), virtual: p.s.ID.Addr, now: p.now}
	var could []*destination
	for _, d := range p.s.dests {
		if d.available() {
			could = append(could, d)
		}
	}
	p.s.templates.expire(p.now)
	remembered := p.s.Persistence.Timeout != 0 && p.s.templates.find(p.s.templateKey(f)) != nil
	c := p.s.admit(f, nil)
	switch {
	case c == nil:
		switch p.s.Scheduler {
		case "dh", "sh", "mh", "ovf", "none": // may have nobody where others have
		default:
			if len(could) > 0 {
				p.t.Errorf("%s has nobody", p.s.Scheduler)
			}
		}
		return
	case c.dest.removed:
		p.t.Errorf("%s chose one that was removed", p.s.Scheduler)
	case remembered: // goes to weight 0, and where it is full
	case c.dest.Weight == 0, p.s.Scheduler != ipvs.LBLC && !slices.Contains(could, c.dest):
		p.t.Errorf("%s chose %+v", p.s.Scheduler, c.dest.Destination)
	}
	p.open[c.name()] = append(p.open[c.name()], c)
}

// TestRoundsAreSkipped compares wrr with one that walks every round, as the
// kernel does.
func TestRoundsAreSkipped(t *testing.T) {
	for n := range 3000 {
		p, q := newScript(t, ipvs.Service{Scheduler: ipvs.WRR}), newScript(t, ipvs.Service{Scheduler: ipvs.WRR})
		weights := [5]int{n % 7, n / 7 % 5 * 3, n / 35 % 11, 2 * (n % 2), n % 13}
		for i, w := range weights {
			d := ipvs.Destination{Addr: numbered(i), Weight: w, Forward: ipvs.ForwardMasq}
			for _, s := range []*script{p, q} {
				if err := s.e.AddDestination(background, s.s.ID, d); err != nil {
					t.Fatal(err)
				}
			}
		}
		walker := q.s.sched.(*weightedRoundRobin)
		for i := range 40 {
			full := (n + i/4) % 32 // who is overloaded
			for j := range weights {
				p.s.dests[j].overload, q.s.dests[j].overload = full>>j&1 != 0, full>>j&1 != 0
			}
			got := p.s.sched.pick(p.s, flow{})
			if want := walk(walker, q.s); (got == nil) != (want == nil) || got != nil && got.Addr != want.Addr {
				t.Fatalf("%v, choice %d: %v and %v", weights, i, got, want)
			}
		}
	}
}

// walk is the choice of wrr by single rounds.
func walk(w *weightedRoundRobin, s *service) *destination {
	if w.first == 0 {
		return nil
	}
	from, until, last, again := w.at, len(s.dests), false, false
	for {
		for w.at++; w.at < len(s.dests); w.at++ {
			if d := s.dests[w.at]; !d.overload && d.Weight >= w.current {
				return d
			}
			if w.at == until {
				return nil
			}
		}
		w.at = beforeFirst
		if w.current -= w.step; w.current <= 0 {
			w.current = w.first
			if last || from == beforeFirst {
				return nil
			}
			again = true
		}
		if last = w.current <= w.step; last && again && from != beforeFirst {
			until = from
		}
	}
}
