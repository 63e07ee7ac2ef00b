package userspace_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

var (
	churn     = flag.Duration("churn", 3*time.Second, "how long TestChurn goes on")
	churnSeed = flag.Uint64("churnseed", 0, "of TestChurn; 0: another each time")
)

// lenient are idle timeouts that a client does not reach because the machine is
// busy.
var lenient = ipvs.Timeouts{TCP: 8 * time.Second, TCPFin: 8 * time.Second, UDP: time.Second}

// A crowd are clients that do all that clients can do wrong, to services whose
// real servers do so too, while the table changes.
type crowd struct {
	*victim
	good, refused, deaf, moving, packets netip.AddrPort // services
	server                               *obedient
	counts                               [8]atomic.Int64
}

// TestChurn has all faults at once. Clients of services that nobody touches must
// have what they asked for, and nothing may be left at the end.
func TestChurn(t *testing.T) {
	seed := *churnSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-churnseed %d", seed)
	c := newCrowd(t)
	ctx, cancel := context.WithTimeout(t.Context(), *churn)
	defer cancel()
	var wg sync.WaitGroup
	clients := 64
	if need.Emulated() {
		clients = 16
	}
	for n := range clients {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)))
		wg.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				if err := c.client(rnd); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(seed, 1<<32))
		for ctx.Err() == nil {
			if err := c.shuffle(rnd); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	c.server.close()
	c.settled(t)
	for n, name := range crowdNames {
		t.Logf("%s: %d", name, c.counts[n].Load())
	}
}

var crowdNames = [...]string{"echo", "reset", "hang", "half", "stream", "sum", "nobody", "moving and datagrams"}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{
		good: freePort(t), refused: freePort(t), deaf: freePort(t), moving: freePort(t), packets: freePort(t),
		server: newObedient(t),
	}
	nobody := freePort(t)
	c.victim = newVictim(t, userspace.Config{ConnectTimeout: 300 * time.Millisecond}, lenient,
		masq(ipvs.TCP, c.good, c.server.addr()),
		masq(ipvs.TCP, c.refused, nobody),
		masq(ipvs.TCP, c.deaf, deaf(t)),
		masq(ipvs.TCP, c.moving, c.server.addr()),
		masq(ipvs.UDP, c.packets, echoPackets(t, c.server.end)),
	)
	return c
}

// echoPackets is a server of datagrams, until the end.
func echoPackets(t *testing.T, end <-chan struct{}) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 2048); ; {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort(b[:n], from)
			}
		}
	}()
	go func() { <-end; conn.Close(); <-done }()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// client is one client. The error says what it did not get.
func (c *crowd) client(rnd *rand.Rand) error {
	what := rnd.IntN(len(crowdNames))
	c.counts[what].Add(1)
	var err error
	switch what {
	case 0:
		err = c.echo(rnd)
	case 1:
		err = c.reset()
	case 2:
		err = c.hang(rnd)
	case 3:
		err = c.half()
	case 4:
		err = c.stream(rnd)
	case 5:
		err = summed(c.good, rnd.IntN(1<<18))
	case 6:
		err = c.nobody(rnd)
	case 7:
		if rnd.IntN(2) == 0 {
			err = c.datagram()
		} else {
			c.cut(rnd)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", crowdNames[what], err)
	}
	return nil
}

func (c *crowd) echo(rnd *rand.Rand) error {
	conn, err := tryDial(c.good, askEcho)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 1 + rnd.IntN(4) {
		if err := echoed(conn, 1+rnd.IntN(1<<uint(1+rnd.IntN(19)))); err != nil {
			return err
		}
	}
	if rnd.IntN(2) == 0 {
		return conn.SetLinger(0)
	}
	return nil
}

func (c *crowd) reset() error {
	conn, err := tryDial(c.good, askReset)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.Copy(io.Discard, conn); !wasReset(err) {
		return fmt.Errorf("%w, want a reset", err)
	}
	return nil
}

// hang leaves at once in some way, or seldom waits to be cut.
func (c *crowd) hang(rnd *rand.Rand) error {
	conn, err := tryDial(c.good, askHang)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch n := rnd.IntN(100); {
	case n < 50:
		return conn.SetLinger(0)
	case n < 52:
		return cutOff(conn)
	case n < 54:
		return errors.Join(conn.CloseWrite(), cutOff(conn))
	case n < 80:
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = conn.Write(make([]byte, 1<<20))
	}
	return nil
}

func (c *crowd) half() error {
	conn, err := tryDial(c.good, askHalf)
	if err != nil {
		return err
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); err != nil || string(text) != "half" {
		return fmt.Errorf("read %q, %w", text, err)
	}
	_, err = conn.Write(make([]byte, 1<<20))
	return err
}

func (c *crowd) stream(rnd *rand.Rand) error {
	conn, err := tryDial(c.good, askStream)
	if err != nil {
		return err
	}
	defer conn.Close()
	most := streamSize
	if rnd.IntN(3) > 0 {
		most = rnd.IntN(streamSize)
	}
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for n := 0; n+len(got) <= most; n += len(got) {
		pattern(want, n)
		if _, err := io.ReadFull(conn, got); err != nil {
			return fmt.Errorf("at %d: %w", n, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("other bytes at %d", n)
		}
		if rnd.IntN(64) == 0 {
			time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		}
	}
	if most == streamSize {
		if _, err := conn.Read(got); err != io.EOF {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	return nil
}

// nobody asks where nobody answers, and leaves before that is known or waits.
func (c *crowd) nobody(rnd *rand.Rand) error {
	vip := c.refused
	if rnd.IntN(4) == 0 {
		vip = c.deaf
	}
	conn, err := tryDial(vip, askEcho)
	if err != nil {
		return nil // that may be the reset
	}
	defer conn.Close()
	if rnd.IntN(2) == 0 {
		return nil
	}
	if _, err := io.Copy(io.Discard, conn); !wasReset(err) {
		return fmt.Errorf("%w, want a reset", err)
	}
	return nil
}

// cut uses the service whose real server comes and goes.
func (c *crowd) cut(rnd *rand.Rand) {
	conn, err := tryDial(c.moving, [...]byte{askEcho, askStream, askHang}[rnd.IntN(3)])
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Duration(rnd.IntN(100)) * time.Millisecond))
	_ = echoed(conn, 1000)
}

func (c *crowd) datagram() error {
	conn, err := net.Dial("udp", c.packets.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for n := range 100 { // a datagram may be lost
		want, got := fmt.Sprint(n), make([]byte, 100)
		_ = conn.SetDeadline(time.Now().Add(patience() / 100))
		if _, err := conn.Write([]byte(want)); err != nil {
			continue
		}
		m, err := conn.Read(got)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err == nil && string(got[:m]) != want && n == 0 {
			return fmt.Errorf("%q is answered with %q", want, got[:m])
		}
		return err
	}
	return errors.New("100 datagrams without an answer")
}

// shuffle changes the table at random.
func (c *crowd) shuffle(rnd *rand.Rand) error {
	ctx := context.Background()
	s := masq(ipvs.TCP, c.moving, c.server.addr())
	d := s.Destinations[0]
	switch rnd.IntN(8) {
	case 0:
		_ = c.RemoveDestination(ctx, s.ID, d.Addr)
	case 1:
		if err := c.RemoveService(ctx, s.ID); err != nil {
			return err
		}
		return c.AddService(ctx, s)
	case 2:
		d.Weight = rnd.IntN(3)
		_ = c.UpdateDestination(ctx, s.ID, d)
	case 3:
		_, err := c.Services(ctx)
		return err
	case 4:
		for _, err := range c.Connections(ctx) {
			if err != nil {
				return err
			}
		}
	default:
		_, err := c.Apply(ctx, []ipvs.Service{s}, ipvs.Policy{Owns: func(id ipvs.ServiceID) bool { return id == s.ID }})
		return err
	}
	return nil
}
