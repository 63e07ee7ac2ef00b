package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestUDP(t *testing.T) {
	silent := datagramServer(t, func([]byte) [][]byte { return nil })
	echo := datagramServer(t, func(b []byte) [][]byte { return [][]byte{b} })
	chatty := datagramServer(t, func(b []byte) [][]byte { return [][]byte{nil, []byte("busy"), append([]byte("ready "), b...)} })
	ready := regexp.MustCompile(`^ready ping`)
	const wait = 50 * time.Millisecond
	tests := []struct {
		name string
		p    UDP
		want verdict
	}{
		{"silence passes", UDP{Addr: silent, Wait: wait}, verdict{}},
		{"silence passes by itself", UDP{Addr: silent}, verdict{}},
		{"an answer passes", UDP{Addr: echo, Payload: "x"}, verdict{}},
		{"a wanted answer", UDP{Addr: echo, Payload: "x", Reply: true}, verdict{}},
		{"an empty answer", UDP{Addr: echo, Reply: true}, verdict{}},
		{"a wanted answer that does not come", UDP{Addr: silent, Reply: true}, verdict{"no answer in time", context.DeadlineExceeded}},
		{"what is expected, after other things", UDP{Addr: chatty, Payload: "ping", Expect: ready}, verdict{}},
		{"what is not expected", UDP{Addr: echo, Payload: "ping", Expect: ready}, verdict{`want ^ready ping, got "ping": no answer in time`, context.DeadlineExceeded}},
		{"bytes", UDP{Addr: echo, Payload: "\xff\xff\x00\nA", Expect: regexp.MustCompile(`(?s)^....A$`)}, verdict{}},
		{"a large answer", UDP{Addr: echo, Payload: strings.Repeat("x", 1400), Expect: regexp.MustCompile("^x{1000}")}, verdict{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { judge(t, tt.p, tt.want) })
	}
}

func TestUDPOfAClosedPort(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(c.LocalAddr().String())
	c.Close()
	judge(t, UDP{Addr: addr, Wait: time.Minute}, verdict{"connection refused", nil})
	judge(t, UDP{Addr: addr, Reply: true}, verdict{"connection refused", nil})
}

// Silence that ends by the deadline passes; by a cancellation it says nothing.
func TestUDPThatIsEnded(t *testing.T) {
	addr := datagramServer(t, func([]byte) [][]byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (UDP{Addr: addr, Wait: time.Hour}).Probe(ctx); err != nil {
		t.Errorf("by the deadline: got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := (UDP{Addr: addr, Wait: time.Hour}).Probe(ctx); !errors.Is(err, ErrInconclusive) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestInvalidUDP(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:9")
	for name, p := range map[string]UDP{
		"no address":        {},
		"no port":           {Addr: netip.MustParseAddrPort("127.0.0.1:0")},
		"a long payload":    {Addr: addr, Payload: strings.Repeat("x", 1401)},
		"a negative wait":   {Addr: addr, Wait: -1},
		"wait and reply":    {Addr: addr, Wait: 1, Reply: true},
		"wait and expect":   {Addr: addr, Wait: 1, Expect: regexp.MustCompile("x")},
		"a multicast group": {Addr: netip.MustParseAddrPort("224.0.0.18:9")},
	} {
		if err := p.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: Validate says %v", name, err)
		}
		if _, err := p.Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: Probe says %v", name, err)
		}
	}
}

// A server of a protocol of its own answers a datagram with another.
func ExampleUDP() {
	m, err := New(Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = m.Set("game1", Check{Prober: UDP{
		Addr:    netip.MustParseAddrPort("192.168.247.135:27015"),
		Payload: "\xff\xff\xff\xffTSource Engine Query\x00",
		Expect:  regexp.MustCompile(`(?s)^....[AI]`),
	}})
	fmt.Println(err)
	// Output: <nil>
}
