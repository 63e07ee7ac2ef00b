package health

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// echoConn is what a Pinger needs of a socket.
type echoConn interface {
	ReadFrom(b []byte) (int, net.Addr, error)
	WriteTo(b []byte, to net.Addr) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// maxEchoes are under way at once at most: a sequence number has 16 bits.
const maxEchoes = 1 << 15

// echoSocket is a socket that the probes of one family share. One of those that wait,
// the leader, reads, and hands the others what is theirs; when it has its own, the next
// leads.
type echoSocket struct {
	pinger *Pinger
	conn   echoConn
	six    bool
	raw    bool   // it is not a ping socket, which has an ID of the kernel's
	id     uint16 // of a raw one
	lead   chan struct{}

	mu      sync.Mutex // guards what is below
	seq     uint16
	waiting map[uint16]*waiter
}

// to is an address for the connection.
func (s *echoSocket) to(addr netip.Addr) net.Addr {
	if s.raw {
		return &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}
	}
	return &net.UDPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}
}

// addrOf is the address of a sender, without its zone, which is named as of another
// network namespace perhaps.
func addrOf(from net.Addr) netip.Addr {
	var ip net.IP
	switch a := from.(type) {
	case *net.IPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// enlist makes a request that waits for its answer.
func (s *echoSocket) enlist(to netip.Addr, size int) (*waiter, error) {
	w := &waiter{to: to, data: make([]byte, size), reply: make(chan struct{})}
	if _, err := crand.Read(w.data[:tokenSize]); err != nil {
		return nil, inconclusive(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > maxEchoes {
		return nil, inconclusive(fmt.Errorf("%d echoes are under way", len(s.waiting)))
	}
	for s.seq++; s.waiting[s.seq] != nil; s.seq++ {
	}
	w.seq = s.seq
	s.waiting[w.seq] = w
	return w, nil
}

func (s *echoSocket) dismiss(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[w.seq] == w {
		delete(s.waiting, w.seq)
	}
}

// deliver gives a message to whom it is for.
func (s *echoSocket) deliver(b []byte, from netip.Addr) {
	a, ok := parseAnswer(b, s.six)
	if !ok || s.raw && a.id != s.id {
		return // another program's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[a.seq]
	if w == nil || !a.is(w, from) {
		s.pinger.dropped.Add(1)
		return
	}
	s.pinger.received.Add(1)
	delete(s.waiting, w.seq)
	close(w.reply)
}

// await waits for the answer, and reads when nobody else does.
func (s *echoSocket) await(ctx context.Context, w *waiter) error {
	asks(ctx)
	select {
	case <-w.reply:
		return nil
	case <-ctx.Done():
		return s.last(w, ended(ctx, ctx.Err()))
	case s.lead <- struct{}{}:
		defer func() { <-s.lead }()
		return s.read(ctx, w)
	}
}

// last looks once more when ctx has ended: the answer is there if this process was
// stopped, or had no processor.
func (s *echoSocket) last(w *waiter, err error) error {
	s.drain()
	select {
	case <-w.reply:
		return nil
	default:
		return err
	}
}

// read reads for all until w has its answer.
func (s *echoSocket) read(ctx context.Context, w *waiter) error {
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil { // the last leader's
		return inconclusive(err)
	}
	ending := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ending)
		_ = s.conn.SetReadDeadline(past) // fails once it is closed
	})
	defer func() {
		if !stop() {
			<-ending // lest it end what the next leader reads
		}
	}()
	buf := make([]byte, s.pinger.cfg.Size+128)
	for {
		select {
		case <-w.reply:
			return nil
		default:
		}
		n, from, err := s.conn.ReadFrom(buf)
		switch {
		case err == nil:
			s.deliver(buf[:n], addrOf(from))
		case isTimeout(err):
			return s.last(w, ended(ctx, err))
		case errors.Is(err, net.ErrClosed):
			return inconclusive(net.ErrClosed)
		default:
			return inconclusive(err)
		}
	}
}
