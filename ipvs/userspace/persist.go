package userspace

import (
	"container/heap"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

const (
	engineSIP = "sip"

	// templateLater is how much longer a template stays, each time it would go
	// while it controls connections (ip_vs_conn.c, ip_vs_conn_expire).
	templateLater = time.Minute

	portFTP = 21 // its templates, as those of port 0, are of all ports
)

// template remembers the destination of a client. The service's Engine.mu
// guards it, but for what is atomic.
type template struct {
	templateKey
	dest     *destination
	timeout  time.Duration // that of the service when it was made; templateLater once it has stayed longer
	expires  time.Duration // since the epoch of the Engine
	controls int           // connections that came by it
	assured  atomic.Bool   // one of them was established, or answered

	due int64 // its place in the heap: never later than expires
	at  int   // index in the heap
}

// templateKey is by what a service remembers a client. The kernel's key has the
// protocol and the virtual address besides, which are those of the service; a
// firewall mark stands for both.
type templateKey struct {
	client netip.Addr // the first address of its network
	callID string     // of the engine sip
}

func (s *service) templateKey(f flow) templateKey {
	key := templateKey{client: f.client.Addr()}
	switch mask := s.Persistence.Mask; {
	case mask == ipvs.MaskAll:
		key.client = netip.IPv4Unspecified()
	case mask != 0:
		if p, err := key.client.Prefix(mask); err == nil {
			key.client = p.Addr()
		}
	}
	if s.Persistence.Engine == engineSIP {
		key.callID = f.callID
	}
	return key
}

// templateVirtual is the virtual address that a template of the service is
// listed with.
func (s *service) templateVirtual() netip.AddrPort {
	if mark := s.ID.FWMark; mark != 0 {
		b := [16]byte{byte(mark >> 24), byte(mark >> 16), byte(mark >> 8), byte(mark)}
		if s.ID.Family == ipvs.IPv6 {
			return netip.AddrPortFrom(netip.AddrFrom16(b), 0)
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), 0)
	}
	if s.ID.Addr.Port() == portFTP {
		return netip.AddrPortFrom(s.ID.Addr.Addr(), 0)
	}
	return s.ID.Addr
}

// listing is a template as the connection table shows it.
func (t *template) listing(s *service, now time.Duration) ipvs.Connection {
	c := ipvs.Connection{
		Protocol:    s.ID.Protocol,
		Client:      netip.AddrPortFrom(t.client, 0),
		Virtual:     s.templateVirtual(),
		Destination: t.dest.Addr,
		State:       ipvs.StateNone,
		Expires:     max(t.expires-now, 0).Truncate(time.Second),
		Origin:      ipvs.OriginLocal,
	}
	if c.Virtual.Port() == 0 {
		c.Destination = netip.AddrPortFrom(t.dest.Addr.Addr(), 0)
	}
	if t.assured.Load() {
		c.State = ipvs.StateAssured
	}
	if t.callID != "" {
		c.Engine, c.EngineData = engineSIP, t.callID
	}
	return c
}

// templates are those of a service. The zero value has none.
type templates struct {
	byKey map[templateKey]*template
	heap  templateHeap
}

// find is the template of a client, nil if there is none.
func (ts *templates) find(key templateKey) *template { return ts.byKey[key] }

// add remembers a destination. The template has to be renewed at once.
func (ts *templates) add(key templateKey, d *destination, timeout time.Duration) *template {
	t := &template{templateKey: key, dest: d, timeout: timeout}
	if ts.byKey == nil {
		ts.byKey = map[templateKey]*template{}
	}
	ts.byKey[key] = t
	heap.Push(&ts.heap, t)
	d.persistent++
	return t
}

// renew lets a template stay for its whole timeout from now on.
func (ts *templates) renew(t *template, now time.Duration) {
	t.expires = now + t.timeout
	if t.due == 0 || int64(t.expires) < t.due { // a shorter timeout than before
		t.due = int64(t.expires)
		heap.Fix(&ts.heap, t.at)
	}
}

// expire ends the templates whose time is over.
func (ts *templates) expire(now time.Duration) {
	for len(ts.heap) > 0 {
		t := ts.heap[0]
		if t.due > int64(now) {
			return
		}
		t.stay(now)
		if t.expires <= now {
			ts.remove(t)
			continue
		}
		t.due = int64(t.expires)
		heap.Fix(&ts.heap, 0)
	}
}

// stay keeps a template that controls connections.
func (t *template) stay(now time.Duration) {
	if t.controls == 0 || t.expires > now {
		return
	}
	t.timeout = templateLater
	t.expires += ((now-t.expires)/templateLater + 1) * templateLater
}

// release tells a template that a connection which came by it has ended.
func (t *template) release(now time.Duration) {
	t.stay(now)
	t.controls--
}

// forget ends the templates of a destination that is removed.
func (ts *templates) forget(d *destination) {
	for _, t := range ts.byKey {
		if t.dest == d {
			ts.remove(t)
		}
	}
}

func (ts *templates) remove(t *template) {
	delete(ts.byKey, t.templateKey)
	heap.Remove(&ts.heap, t.at)
	t.dest.persistent--
}

// templateHeap has the template that is due first in front. A template that is
// renewed stays where it is until it is due.
type templateHeap []*template

func (h templateHeap) Len() int           { return len(h) }
func (h templateHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h templateHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *templateHeap) Push(x any) {
	t := x.(*template)
	t.at = len(*h)
	*h = append(*h, t)
}

func (h *templateHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
