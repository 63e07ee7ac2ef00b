package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// PingerConfig is the configuration of a Pinger. The zero value is ready to use.
type PingerConfig struct {
	// Source is where echo requests come from; its Port must be 0.
	Source Source
	// TTL is the time to live, or hop limit, of requests, 1 to 255; 0 is the system's
	// default, usually 64.
	TTL int
	// Size is how many bytes of data a request has, 16 to 65000; 0 means 56, as for
	// ping(8). The answer must bring them back.
	Size int
}

const (
	defaultEchoSize = 56
	tokenSize       = 16 // random bytes, by which an answer is told from a guess
	maxEchoSize     = 65000
)

// Pinger asks any number of hosts for an echo by ICMP (RFC 792, RFC 4443), over one
// socket for each family. It has no goroutine: of the probes under way one reads for
// all. It is safe for concurrent use.
//
// The sockets are opened by the first probe: raw ones, which takes CAP_NET_RAW, or else
// those that the system has for its users (on Linux those of the groups in
// net.ipv4.ping_group_range, for both families). They are open until Close. A probe
// that cannot open one is inconclusive, and the next tries again.
type Pinger struct {
	cfg      PingerConfig
	sent     atomic.Uint64
	received atomic.Uint64
	dropped  atomic.Uint64

	mu        sync.Mutex // guards what is below
	closed    bool
	four, six *echoSocket // nil unless open
}

// PingerStats counts since NewPinger.
type PingerStats struct {
	Sent     uint64 // requests
	Received uint64 // answers to them in time
	// Dropped are answers that no probe waits for: they came late, or twice, or from
	// another address than was asked, or without the bytes that were sent.
	Dropped uint64
}

// NewPinger checks the configuration; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported. It opens nothing yet.
func NewPinger(cfg PingerConfig) (*Pinger, error) {
	err := cfg.Source.Validate()
	switch {
	case err != nil:
	case cfg.Source.Port != 0:
		err = invalid("ICMP has no ports, but Source.Port is %d", cfg.Source.Port)
	case cfg.TTL < 0 || cfg.TTL > 255:
		err = invalid("TTL is %d, want 1 to 255", cfg.TTL)
	case cfg.Size != 0 && cfg.Size < tokenSize || cfg.Size > maxEchoSize:
		err = invalid("Size is %d, want %d to %d", cfg.Size, tokenSize, maxEchoSize)
	}
	if err != nil {
		return nil, opError("ping", "", err)
	}
	if cfg.Size == 0 {
		cfg.Size = defaultEchoSize
	}
	return &Pinger{cfg: cfg}, nil
}

// Stats is what the Pinger has counted.
func (p *Pinger) Stats() PingerStats {
	return PingerStats{Sent: p.sent.Load(), Received: p.received.Load(), Dropped: p.dropped.Load()}
}

// Close closes the sockets. Probes that are under way, and later ones, are
// inconclusive: they match net.ErrClosed.
func (p *Pinger) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var err error
	for _, s := range []*echoSocket{p.four, p.six} {
		if s != nil {
			err = errors.Join(err, s.conn.Close())
		}
	}
	p.four, p.six = nil, nil
	return opError("close", "", err)
}

// Echo is a Prober that asks a host once, and passes when the answer comes. Silence
// until the deadline fails.
func (p *Pinger) Echo(addr netip.Addr) Prober { return echoProber{p, addr} }

type echoProber struct {
	pinger *Pinger
	addr   netip.Addr
}

// Validate tells whether the address can be asked; the error matches fs.ErrInvalid.
func (e echoProber) Validate() error { return e.pinger.cfg.Source.validate(e.addr, 0, false) }

// Probe asks once. The Report is empty.
func (e echoProber) Probe(ctx context.Context) (Report, error) {
	if err := e.Validate(); err != nil {
		return Report{}, fault(err)
	}
	return Report{}, opError("ping", e.addr.String(), fault(e.probe(ctx)))
}

func (e echoProber) probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return ended(ctx, err)
	}
	to := e.addr.Unmap()
	s, err := e.pinger.socket(to)
	if err != nil {
		return inconclusive(err)
	}
	to, err = e.pinger.cfg.Source.numeric(to)
	if err != nil {
		return err
	}
	w, err := s.enlist(to, e.pinger.cfg.Size)
	if err != nil {
		return err
	}
	defer s.dismiss(w)
	if _, err := s.conn.WriteTo(w.request(s), s.to(to)); err != nil {
		if staleSocket(err) {
			e.pinger.drop(s)
		}
		return err
	}
	e.pinger.sent.Add(1)
	return s.await(ctx, w)
}

// socket is the open socket for an address.
func (p *Pinger) socket(to netip.Addr) (*echoSocket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("the Pinger is closed: %w", net.ErrClosed)
	}
	which := &p.six
	if to.Is4() {
		which = &p.four
	}
	if *which == nil {
		s := &echoSocket{
			pinger: p, six: to.Is6(), id: uint16(rand.Uint32()), seq: uint16(rand.Uint32()),
			lead: make(chan struct{}, 1), waiting: map[uint16]*waiter{},
		}
		if err := s.open(p.cfg); err != nil {
			return nil, err
		}
		*which = s
	}
	return *which, nil
}

// drop closes a socket that is of no use any more, as its device has gone. The next
// probe opens another.
func (p *Pinger) drop(s *echoSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, which := range []**echoSocket{&p.four, &p.six} {
		if *which == s {
			_ = s.conn.Close() // its probes are told
			*which = nil
		}
	}
}

// waiter is a request that has no answer yet.
type waiter struct {
	to    netip.Addr
	seq   uint16
	data  []byte
	reply chan struct{} // closed when it is there
}

// request is the message of a waiter.
func (w *waiter) request(s *echoSocket) []byte {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(s.id), Seq: int(w.seq), Data: w.data}}
	if s.six {
		m.Type = ipv6.ICMPTypeEchoRequest // the kernel adds the checksum
	}
	b, _ := m.Marshal(nil) // an Echo has no error
	return b
}

// answer is an echo reply.
type answer struct {
	id, seq uint16
	data    []byte
}

// Types of ICMP messages (RFC 792, RFC 4443 section 4.2).
const (
	echoReply4 = 0
	echoReply6 = 129
)

// parseAnswer reads an echo reply; false for other messages.
func parseAnswer(b []byte, six bool) (a answer, ok bool) {
	kind := byte(echoReply4)
	if six {
		kind = echoReply6
	}
	if len(b) < 8 || b[0] != kind || b[1] != 0 {
		return a, false
	}
	return answer{binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), b[8:]}, true
}

// is tells whether an answer from an address is that to w.
func (a answer) is(w *waiter, from netip.Addr) bool {
	return a.seq == w.seq && from.WithZone("") == w.to.WithZone("") && bytes.Equal(a.data, w.data)
}
