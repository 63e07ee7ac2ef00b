package userspace

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/lvskit/lvskit/ipvs"
)

func TestMaglevTable(t *testing.T) {
	p := many(t, ipvs.MH, 0, 10)
	p.connect()
	m := p.s.sched.(*maglev)
	count := map[*destination]int{}
	for _, d := range m.table {
		count[d]++
	}
	for d, n := range count { // weights 1 to 5 twice: 30 in all
		if share := maglevSize * d.Weight / 30; n < share-5 || n > share+5 {
			t.Errorf("weight %d has %d entries, not about %d", d.Weight, n, share)
		}
	}

	before := m.table
	gone := p.s.find(numbered(3))
	down := gone.Destination
	down.Weight = 0
	if err := p.e.UpdateDestination(background, p.s.ID, down); err != nil {
		t.Fatal(err)
	}
	p.connect()
	if m.table != before {
		t.Error("weight 0 changed the table")
	}
	if err := p.e.RemoveDestination(background, p.s.ID, gone.Addr); err != nil {
		t.Fatal(err)
	}
	p.connect()
	moved := 0
	for i, d := range m.table {
		if d == gone {
			t.Fatal("a removed one is in the table")
		}
		if before[i] != gone && before[i] != d {
			moved++
		}
	}
	if moved == 0 || moved > maglevSize/5 {
		t.Errorf("%d of %d entries changed hands without need", moved, maglevSize)
	}
}

func TestMaglevIsFull(t *testing.T) {
	p := many(t, ipvs.MH, 0, maglevSize+1)
	if p.connect() == nil {
		t.Error("no choice")
	}
	err := p.e.UpdateService(background, ipvs.Service{ID: p.s.ID, Scheduler: ipvs.RR})
	if err != nil {
		t.Fatal(err)
	}
	if err = p.e.UpdateService(background, ipvs.Service{ID: p.s.ID, Scheduler: ipvs.MH}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("too many destinations: %v", err)
	}
}

// TestHSipHash has a vector of the reference, by way of lib/siphash_kunit.c.
func TestHSipHash(t *testing.T) {
	if got := hsiphash(0x03020100, 0x0706050403020100, 0x0f0e0d0c0b0a0908); got != 0x88d38328 {
		t.Errorf("%#x", got)
	}
}

func TestHashTable(t *testing.T) {
	p := newScript(t, ipvs.Service{Scheduler: ipvs.SH})
	p.play("+a2 +b0 +c1")
	for i, d := range p.s.sched.(*sourceHash).table {
		if want := "cbaa"[i%4 : i%4+1]; nameOf(d) != want {
			t.Fatalf("entry %d is of %s, not of %s", i, nameOf(d), want)
		}
	}
	p.play("-a -b -c =.")
	p = newScript(t, ipvs.Service{Scheduler: ipvs.DH})
	p.play("+a2 +b0 +c1")
	for i, d := range p.s.sched.(*destinationHash).table {
		if want := "cba"[i%3 : i%3+1]; nameOf(d) != want {
			t.Fatalf("entry %d is of %s, not of %s", i, nameOf(d), want)
		}
	}
}

func TestHashOfTheClient(t *testing.T) {
	for _, scheduler := range []ipvs.Scheduler{ipvs.SH, ipvs.MH} {
		pick := func(p *script, addr string, port uint16) *destination {
			d := p.s.sched.pick(p.s, flow{client: netip.AddrPortFrom(netip.MustParseAddr(addr), port)})
			return d
		}
		plain, ports := many(t, scheduler, 0, 10), many(t, scheduler, ipvs.SHPort, 10)
		fallback := many(t, scheduler, ipvs.SHFallback, 10)
		first := pick(plain, "198.51.100.7", 1)
		same := map[*destination]bool{}
		for port := range uint16(50) {
			if pick(plain, "198.51.100.7", port) != first {
				t.Errorf("%s: the port counts", scheduler)
			}
			same[pick(ports, "198.51.100.7", port)] = true
		}
		if len(same) < 5 {
			t.Errorf("%s: 50 ports come to %d destinations", scheduler, len(same))
		}
		for _, p := range []*script{plain, fallback} {
			down := first.Destination
			down.Weight = 0
			if err := p.e.UpdateDestination(background, p.s.ID, down); err != nil {
				t.Fatal(err)
			}
		}
		if scheduler == ipvs.MH { // whose table is the same: sh gives its entries to others
			if d := pick(plain, "198.51.100.7", 1); d != nil {
				t.Errorf("%s: %v, though the client's has weight 0", scheduler, d.Addr)
			}
		}
		for i := range byte(200) {
			if d := pick(fallback, netip.AddrFrom4([4]byte{198, 51, 100, i}).String(), 1); d == nil || d.Weight == 0 {
				t.Errorf("%s: no fallback for %d", scheduler, i)
			}
		}
	}
}

// TestHashesOfTheKernel has choices that the kernel makes too, by tests against
// 6.1 and 6.12: of clients 198.51.100.0 to .15, or ports 1 to 16, or virtual
// addresses.
func TestHashesOfTheKernel(t *testing.T) {
	for _, tc := range []struct {
		scheduler ipvs.Scheduler
		flags     ipvs.Flags
		dests     string
		want      string
	}{
		{ipvs.SH, 0, "+a1 +b2 +c3 +d1 +e0 +f2", "ccccdfdf.fbfbcbc"},
		{ipvs.SH, ipvs.SHFallback, "+a1 +b0 +c3 +d0 +e0 +f0", "cccccaccccccccac"},
		{ipvs.SH, ipvs.SHPort, "+a1 +b2 +c3 +d1 +e0 +f2", ".fbfbcbcbc.c.cfa"},
		{ipvs.MH, 0, "+a1 +b2 +c3 +d1 +e0 +f2 ~a0", ".c.fbbfbdbbfccbc"},
		{ipvs.MH, 0, "+a10 +b100 +c71 +d30", "adbbbbbbdbbbccbc"},
		{ipvs.MH, ipvs.MHFallback, "+a1 +b1 +c1 +d1 +e1 ~a0 ~b0 ~c0", "eddeeededddedeee"},
		{ipvs.MH, ipvs.MHPort, "+a1 +b2 +c3 +d1 +e0 +f2", "dbbfccbcccfbcdcd"},
		{ipvs.DH, 0, "+a1 +b2 +c3 +d1 +e0 +f2", "bdcacadbfbfca.a."},
	} {
		p := newScript(t, ipvs.Service{ID: ipvs.ServiceID{FWMark: 1}, Scheduler: tc.scheduler, Flags: tc.flags})
		p.play(tc.dests)
		got := ""
		for i := range byte(16) {
			f := flow{
				client:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, i}), 1),
				virtual: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, i}), 80),
			}
			if tc.flags&ipvs.SHPort != 0 {
				f.client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 7}), uint16(i)+1)
			}
			got += nameOf(p.s.sched.pick(p.s, f))
		}
		if got != tc.want {
			t.Errorf("%s %#x: got %s, want %s", tc.scheduler, uint32(tc.flags), got, tc.want)
		}
	}
}
