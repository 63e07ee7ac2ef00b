package lab_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// udp sends datagrams from a's address to b's, and tells what arrives.
type udp struct {
	t        testing.TB
	from, to net.PacketConn
}

func newUDP(t testing.TB, p *pair) *udp {
	t.Helper()
	u := &udp{t: t}
	var err error
	if u.from, err = p.a.ListenPacket("udp", "10.0.0.1:1000"); err != nil {
		t.Fatal(err)
	}
	if u.to, err = p.b.ListenPacket("udp", "10.0.0.2:1000"); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *udp) send(text string) {
	u.t.Helper()
	if _, err := u.from.WriteTo([]byte(text), u.to.LocalAddr()); err != nil {
		u.t.Fatal(err)
	}
}

func (u *udp) receive() string {
	u.t.Helper()
	buf := make([]byte, 1<<16)
	u.to.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, _, err := u.to.ReadFrom(buf)
	if err != nil {
		u.t.Fatal(err)
	}
	return string(buf[:n])
}

func TestLinkIsAsConfigured(t *testing.T) {
	p := newPair(t)
	cfg := lab.LinkConfig{
		Name: "fifteen-bytes-x", MTU: 9000, MAC: net.HardwareAddr{2, 1, 2, 3, 4, 5},
		Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")},
	}
	k, err := p.a.Connect(p.lan, cfg)
	if err != nil {
		t.Fatal(err)
	}
	next := labtest.Connect(t, p.a, p.lan)
	if p.atA.Name() != "eth0" || next.Name() != "eth1" {
		t.Errorf("the links without a name are %s and %s", p.atA.Name(), next.Name())
	}
	err = p.a.Do(func() error {
		ifi, err := net.InterfaceByName(cfg.Name)
		if err != nil {
			return err
		}
		if ifi.MTU != cfg.MTU || !bytes.Equal(ifi.HardwareAddr, cfg.MAC) || ifi.Index != k.Index() || !bytes.Equal(k.MAC(), cfg.MAC) || ifi.Flags&net.FlagRunning == 0 {
			t.Errorf("the interface is %+v", ifi)
		}
		addrs, err := ifi.Addrs()
		if have := addrs[0].String() + " " + addrs[1].String(); have != "192.0.2.1/32 2001:db8::1/128" {
			t.Errorf("its addresses are %s", have)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := labtest.Run(t, p.a, "ip", "-6", "addr"); strings.Contains(out, "tentative") {
		t.Errorf("addresses cannot be used yet:\n%s", out)
	}
}

func TestCable(t *testing.T) {
	p := newPair(t)
	u := newUDP(t, p)
	u.send("before")
	if have := u.receive(); have != "before" {
		t.Fatalf("received %q", have)
	}
	third := labtest.Connect(t, labtest.Host(t, p.lab, "third"), p.lan)
	flooded, err := third.Capture(func(f []byte) bool { return bytes.HasSuffix(f, []byte("lost")) })
	if err != nil {
		t.Fatal(err)
	}
	fastest := time.Hour
	for range 3 {
		begin := time.Now()
		if err := p.atB.Down(); err != nil {
			t.Fatal(err)
		}
		if f := flags(t, p.b); f&net.FlagUp == 0 || f&net.FlagRunning != 0 {
			t.Errorf("after Down host b's interface is %v", f)
		}
		if f := flags(t, p.a); f&net.FlagRunning == 0 {
			t.Errorf("the other host's interface is %v", f)
		}
		u.send("lost")
		// The switch does not know any more where b is, and sends it everywhere: so it
		// has come as far as the pulled cable, which the kernel may do later.
		if _, err := flooded.Next(p.ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.atB.Up(); err != nil {
			t.Fatal(err)
		}
		if f := flags(t, p.b); f&net.FlagRunning == 0 {
			t.Errorf("after Up host b's interface is %v", f)
		}
		fastest = min(fastest, time.Since(begin))
		u.send("after")
		if have := u.receive(); have != "after" {
			t.Fatalf("received %q", have)
		}
	}
	if fastest > 900*time.Millisecond {
		t.Errorf("down and up took %v at best: the kernel was late", fastest)
	}
	if err := errors.Join(p.atB.Down(), p.atB.Down(), p.atB.Up(), p.atB.Up()); err != nil {
		t.Errorf("done twice: %v", err)
	}
}

func flags(t *testing.T, h *lab.Host) (f net.Flags) {
	t.Helper()
	err := h.Do(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			f = ifi.Flags
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCableOfAnInterfaceThatTheHostChanged(t *testing.T) {
	p := newPair(t)
	for _, change := range []string{"ip link set eth0 down", "ip link set eth0 name wan", "ip link del wan"} {
		labtest.Run(t, p.b, "sh", "-c", change)
		if change == "ip link del wan" {
			break
		}
		if err := errors.Join(p.atB.Down(), p.atB.Up()); err != nil {
			t.Errorf("after %s: %v", change, err)
		}
	}
	if err := p.atB.Down(); err == nil {
		t.Error("the cable of a deleted interface was pulled")
	}
}

func TestImpair(t *testing.T) {
	p := newPair(t)
	u := newUDP(t, p)
	u.send("before") // the neighbours know each other
	u.receive()
	err := p.atB.Impair(lab.Impairment{Loss: 1})
	if errors.Is(err, errors.ErrUnsupported) {
		if !strings.Contains(err.Error(), "modprobe sch_netem") {
			t.Errorf("%v does not say what to do", err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	u.send("lost")
	const delay = 100 * time.Millisecond
	if err := p.atB.Impair(lab.Impairment{Delay: delay}); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"there", "back"} {
		begin := time.Now()
		u.send(way)
		if have, took := u.receive(), time.Since(begin); have != way || took < delay {
			t.Errorf("received %q after %v", have, took)
		}
		u.from, u.to = u.to, u.from
	}
	if err := p.atB.Impair(lab.Impairment{}); err != nil {
		t.Fatal(err)
	}
	if out := labtest.Run(t, p.b, "tc", "qdisc", "show", "dev", "eth0"); strings.Contains(out, "netem") {
		t.Errorf("the repaired link has %s", out)
	}
	if err := p.atB.Impair(lab.Impairment{}); err != nil {
		t.Errorf("repaired twice: %v", err)
	}
}

func TestCapture(t *testing.T) {
	p := newPair(t)
	u := newUDP(t, p)
	c, err := p.atB.Capture(func(f []byte) bool { return f[12] == 8 && f[13] == 0 }) // IPv4
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	u.send("one")
	u.receive()
	if have := c.Frames(); len(have) != 1 {
		t.Fatalf("frames after one datagram: %d", len(have))
	}
	if _, err := u.to.WriteTo([]byte("two"), u.from.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		f, err := c.Next(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(f.Data, []byte(want)) || f.FromHost != (want == "two") {
			t.Errorf("want %q, got frame %q, from the host: %v", want, f.Data, f.FromHost)
		}
		if f.Time.Before(begin.Add(-time.Millisecond)) || f.Time.After(time.Now()) {
			t.Errorf("time %v is not within the test", f.Time)
		}
		if sum := checksumUDP(f.Data[14:]); sum != 0xffff {
			t.Errorf("frame %q has no valid UDP checksum", f.Data)
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Millisecond)
	defer cancel()
	if f, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v where nothing was sent", f, err)
	}
	u.send("three")
	u.receive()
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if _, err := c.Next(p.ctx); err != nil {
		t.Errorf("what was sent before Close: %v", err)
	}
	if _, err := c.Next(p.ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the last frame: %v", err)
	}
	if len(c.Frames()) != 3 || c.Lost() != 0 {
		t.Errorf("%d frames, %d lost", len(c.Frames()), c.Lost())
	}
}

// checksumUDP adds up an IPv4 packet of UDP: 0xffff if its checksum is right.
func checksumUDP(packet []byte) uint32 {
	payload := packet[20:]
	sum := uint32(17 + len(payload))
	for _, b := range [][]byte{packet[12:20], payload} {
		for i, v := range b {
			sum += uint32(v) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}

func TestCaptureOutlivesAPulledCable(t *testing.T) {
	p := newPair(t)
	u := newUDP(t, p)
	c, err := p.atB.Capture(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.atB.Down(), p.atB.Up()); err != nil {
		t.Fatal(err)
	}
	u.send("after")
	u.receive()
	var all []byte
	for _, f := range c.Frames() {
		all = append(all, f.Data...)
	}
	if !bytes.Contains(all, []byte("after")) {
		t.Error("the capture has not seen what came after")
	}
}

func TestFramesKeepToTheMTU(t *testing.T) {
	p := newPair(t)
	for _, offload := range []bool{false, true} {
		a, err := p.a.Connect(p.lan, lab.LinkConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")}, Offload: offload})
		if err != nil {
			t.Fatal(err)
		}
		b := labtest.Connect(t, p.b, p.lan, "10.7.0.2/24")
		longest := longestFrame(t, p, a)
		if (longest > 1514) != offload {
			t.Errorf("offload %v: the longest frame has %d bytes", offload, longest)
		}
		labtest.Run(t, p.a, "ip", "link", "del", a.Name())
		labtest.Run(t, p.b, "ip", "link", "del", b.Name())
	}
}

// longestFrame is the length of the longest of many frames of a TCP connection.
func longestFrame(t *testing.T, p *pair, k *lab.Link) (longest int) {
	t.Helper()
	c, err := k.Capture(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ln, err := p.b.Listen("tcp", "10.7.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := p.a.Dial(p.ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	const size = 1 << 20
	go conn.Write(make([]byte, size))
	buf := make([]byte, 1<<16)
	for n := 0; n < size; {
		m, err := in.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	for _, f := range c.Frames() {
		longest = max(longest, len(f.Data))
	}
	return longest
}
