package userspace

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/lvskit/lvskit/ipvs"
)

// settings are random ones for a real server.
func (d *duel) settings(addr netip.AddrPort) ipvs.Destination {
	weights := []int{0, 1, 1, 2, 3, 5, 10, 100}
	dst := ipvs.Destination{Addr: addr, Forward: ipvs.ForwardMasq, Weight: weights[d.rng.IntN(len(weights))]}
	if d.rng.IntN(4) == 0 {
		dst.Upper = uint32(1 + d.rng.IntN(8))
		dst.Lower = uint32(d.rng.IntN(int(dst.Upper) + 1))
	}
	return dst
}

func (d *duel) add(dst ipvs.Destination) {
	d.t.Helper()
	d.note("add %+v", dst)
	d.both(func(table ipvs.Table) error { return table.AddDestination(background, d.id, dst) })
}

func (d *duel) update(dst ipvs.Destination) {
	d.t.Helper()
	d.note("update %+v", dst)
	d.both(func(table ipvs.Table) error { return table.UpdateDestination(background, d.id, dst) })
}

// remove takes a real server out, and waits until the kernel has dropped its
// connections, as the Engine does.
func (d *duel) remove(addr netip.AddrPort) {
	d.t.Helper()
	d.compare()
	d.note("remove %s", addr)
	d.both(func(table ipvs.Table) error { return table.RemoveDestination(background, d.id, addr) })
	for _, p := range d.all {
		if p.c != nil && p.c.listed && p.c.dest.Addr == addr {
			p.ended = true
			d.engine.leave(p.c)
			if p.tcp != nil {
				p.tcp.Close()
			}
		}
	}
	for range 100 {
		left := false
		for c, err := range d.kernel.Connections(background) {
			must(d.t, err)
			left = left || c.Destination.Addr() == addr.Addr()
		}
		if !left {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.t.Fatalf("the kernel keeps connections of %s", addr)
}

// step is one random event. Connections come by connect.
func (d *duel) step(connect func(n int)) {
	d.t.Helper()
	dests := d.service().dests
	any := func() netip.AddrPort { return dests[d.rng.IntN(len(dests))].Addr }
	switch n := d.rng.IntN(10); {
	case n < 2 || len(dests) == 0:
		free := slices.DeleteFunc(slices.Clone(d.pool), func(a netip.AddrPort) bool { return d.service().find(a) != nil })
		if len(free) > 0 {
			d.add(d.settings(free[d.rng.IntN(len(free))]))
		}
	case n == 2 && len(dests) > 2:
		d.remove(any())
	case n < 5:
		d.update(d.settings(any()))
	default:
		connect(1 + d.rng.IntN(12))
	}
}

// connections has n clients open a TCP connection that stays, one after the
// other.
func (d *duel) connections(n int) {
	d.t.Helper()
	d.note("connections %d to %d", len(d.all)+1, len(d.all)+n)
	must(d.t, netns.Do(d.ns, func() error {
		for range n {
			if err := d.connection(); err != nil {
				return err
			}
		}
		return nil
	}))
}

// connection is one of connections, in the namespace.
func (d *duel) connection() (err error) {
	p := &played{client: d.client(), virtual: d.virtual()}
	d.all = append(d.all, p)
	p.c = d.service().admit(flow{client: p.client, virtual: p.virtual, now: d.engine.now()}, nil)
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(p.client), Timeout: 20 * time.Second}
	p.tcp, err = dialer.Dial("tcp", p.virtual.String())
	if p.c == nil {
		return nil // compare says who else thinks so
	}
	d.engine.become(p.c, ipvs.StateEstablished)
	return err
}

// end closes some of the connections that there are.
func (d *duel) end(n int) {
	d.t.Helper()
	var open []*played
	for _, p := range d.all {
		if p.c != nil && !p.ended {
			open = append(open, p)
		}
	}
	d.note("%d connections end", n)
	for range min(n, len(open)) {
		i := d.rng.IntN(len(open))
		p := open[i]
		open = slices.Delete(open, i, i+1)
		p.ended = true
		p.tcp.Close()
		d.engine.become(p.c, ipvs.StateCloseWait)
	}
	d.counts()
}

// keepers take connections and keep them.
type keepers struct {
	l     net.Listener
	ended sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func newKeepers(t *testing.T, ns string, port uint16) *keepers {
	t.Helper()
	s := &keepers{}
	must(t, netns.Do(ns, func() (err error) {
		s.l, err = net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		return err
	}))
	s.ended.Add(1)
	go func() {
		defer s.ended.Done()
		for {
			conn, err := s.l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		s.l.Close()
		s.ended.Wait()
		for _, conn := range s.conns {
			conn.Close()
		}
	})
	return s
}
