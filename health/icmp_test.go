package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"testing"
)

func TestInvalidPingers(t *testing.T) {
	for name, cfg := range map[string]PingerConfig{
		"a port":            {Source: Source{Port: 7}},
		"a negative TTL":    {TTL: -1},
		"a large TTL":       {TTL: 256},
		"too small":         {Size: 15},
		"too large":         {Size: 65001},
		"negative":          {Size: -1},
		"a wrong source":    {Source: Source{Addr: netip.MustParseAddr("224.0.0.1")}},
		"a wrong interface": {Source: Source{Device: "a/b"}},
	} {
		var op *OpError
		if p, err := NewPinger(cfg); !errors.Is(err, fs.ErrInvalid) || !errors.As(err, &op) || p != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	p, err := NewPinger(PingerConfig{Source: Source{Addr: netip.MustParseAddr("10.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"2001:db8::1", "0.0.0.0", "224.0.0.1", "::"} {
		e := p.Echo(netip.MustParseAddr(addr))
		if err := e.(validator).Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: Validate says %v", addr, err)
		}
		if _, err := e.Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: Probe says %v", addr, err)
		}
	}
	if err := p.Echo(netip.MustParseAddr("10.0.0.2")).(validator).Validate(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Echo(netip.MustParseAddr("10.0.0.2")).Probe(t.Context()); !errors.Is(err, net.ErrClosed) || !errors.Is(err, ErrInconclusive) {
		t.Errorf("closed: got %v", err)
	}
}

// echoed are an answer, and what makes it none.
var echoed = []struct {
	name   string
	change func(b []byte) []byte
	from   string
	want   bool
}{
	{"the answer", func(b []byte) []byte { return b }, "10.0.0.9", true},
	{"from another", func(b []byte) []byte { return b }, "10.0.0.8", false},
	{"a request", func(b []byte) []byte { b[0] = 8; return b }, "10.0.0.9", false},
	{"of the other family", func(b []byte) []byte { b[0] = echoReply6; return b }, "10.0.0.9", false},
	{"with a code", func(b []byte) []byte { b[1] = 1; return b }, "10.0.0.9", false},
	{"another ID", func(b []byte) []byte { b[5]++; return b }, "10.0.0.9", false},
	{"another sequence", func(b []byte) []byte { b[7]++; return b }, "10.0.0.9", false},
	{"another token", func(b []byte) []byte { b[8]++; return b }, "10.0.0.9", false},
	{"another byte at the end", func(b []byte) []byte { b[len(b)-1]++; return b }, "10.0.0.9", false},
	{"a byte less", func(b []byte) []byte { return b[:len(b)-1] }, "10.0.0.9", false},
	{"a byte more", func(b []byte) []byte { return append(b, 0) }, "10.0.0.9", false},
	{"no data", func(b []byte) []byte { return b[:8] }, "10.0.0.9", false},
	{"less than a header", func(b []byte) []byte { return b[:7] }, "10.0.0.9", false},
	{"nothing", func([]byte) []byte { return nil }, "10.0.0.9", false},
}

// newEcho is a socket without one, and a request that waits on it.
func newEcho(t testing.TB, id, seq uint16) (*echoSocket, *waiter) {
	t.Helper()
	s := &echoSocket{pinger: &Pinger{cfg: PingerConfig{Size: 56}}, raw: true, id: id, seq: seq, waiting: map[uint16]*waiter{}}
	w, err := s.enlist(netip.MustParseAddr("10.0.0.9"), 56)
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

// answered tells whether a waiter has its answer.
func answered(w *waiter) bool {
	select {
	case <-w.reply:
		return true
	default:
		return false
	}
}

func TestWhatIsAnEcho(t *testing.T) {
	for _, tt := range echoed {
		s, w := newEcho(t, 0x1234, 0xffff)
		b := w.request(s)
		b[0] = echoReply4
		s.deliver(tt.change(b), netip.MustParseAddr(tt.from))
		if answered(w) != tt.want {
			t.Errorf("%s: got %v", tt.name, answered(w))
		}
		if stats := s.pinger.Stats(); (stats.Received == 1) != tt.want || stats.Received+stats.Dropped > 1 {
			t.Errorf("%s: got %+v", tt.name, stats)
		}
	}
}

// An answer that comes twice counts once, and sequences that are in use are passed
// over as they come round.
func TestEchoesOfMany(t *testing.T) {
	s, first := newEcho(t, 1, 41)
	seen := map[uint16]bool{first.seq: true}
	for range maxEchoes {
		w, err := s.enlist(netip.MustParseAddr("10.0.0.9"), 16)
		if err != nil || seen[w.seq] {
			t.Fatalf("sequence %v: %v", w, err)
		}
		seen[w.seq] = true
	}
	if _, err := s.enlist(netip.MustParseAddr("10.0.0.9"), 16); !errors.Is(err, ErrInconclusive) {
		t.Errorf("too many: got %v", err)
	}
	for _, w := range s.waiting {
		if w != first {
			s.dismiss(w)
		}
	}
	s.seq = first.seq - 1
	w, err := s.enlist(netip.MustParseAddr("10.0.0.9"), 16)
	if err != nil || w.seq != first.seq+1 {
		t.Errorf("got sequence %d after %d, %v", w.seq, first.seq, err)
	}
	b := first.request(s)
	b[0] = echoReply4
	for range 2 {
		s.deliver(b, netip.MustParseAddr("10.0.0.9"))
	}
	if stats := s.pinger.Stats(); !answered(first) || answered(w) || stats.Received != 1 || stats.Dropped != 1 {
		t.Errorf("got %+v", stats)
	}
}

func FuzzEcho(f *testing.F) {
	s, w := newEcho(f, 0x1234, 7)
	for _, tt := range echoed {
		b := w.request(s)
		b[0] = echoReply4
		f.Add(tt.change(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, w := newEcho(t, 0x1234, 7)
		s.deliver(b, w.to)
		if answered(w) {
			t.Error("a guess of 16 random bytes is right")
		}
		if len(b) >= 8 { // with our data it is the answer
			b = append(b[:8:8], w.data...)
			s.deliver(b, w.to)
			want := b[0] == 0 && b[1] == 0 && binary.BigEndian.Uint16(b[4:]) == s.id && binary.BigEndian.Uint16(b[6:]) == w.seq
			if answered(w) != want {
				t.Errorf("% x: got %v, want %v", b[:8], answered(w), want)
			}
		}
	})
}

// All hosts of a Monitor are asked over the two sockets of one Pinger.
func ExamplePinger() {
	pinger, err := NewPinger(PingerConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pinger.Close()
	m, err := New(Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range []string{"192.168.247.135", "2001:db8::135"} {
		if err := m.Set(host, Check{Prober: pinger.Echo(netip.MustParseAddr(host))}); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(len(m.Snapshot()), "hosts")
	// Output: 2 hosts
}
