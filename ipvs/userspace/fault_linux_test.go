package userspace_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// seconds are idle timeouts for tests that wait for them.
var seconds = ipvs.Timeouts{TCP: 2 * time.Second, TCPFin: time.Second, UDP: time.Second}

// listening is a victim with a service in front of an obedient server.
func listening(t *testing.T, cfg userspace.Config, timeouts ipvs.Timeouts) (*victim, netip.AddrPort, *obedient) {
	t.Helper()
	vip := freePort(t)
	s := newObedient(t)
	return newVictim(t, cfg, timeouts, masq(ipvs.TCP, vip, s.addr())), vip, s
}

// works fails the test if a new connection is not served.
func works(t *testing.T, vip netip.AddrPort) {
	t.Helper()
	c := dial(t, vip, askEcho)
	defer c.Close()
	if err := echoed(c, 100_000); err != nil {
		t.Fatalf("echo: %v", err)
	}
}

func TestAServerThatHangs(t *testing.T) {
	for name, client := range map[string]func(c *net.TCPConn) error{
		"and a client that closes": func(c *net.TCPConn) error { return c.Close() },
		"and a client that closes half": func(c *net.TCPConn) error {
			if err := c.CloseWrite(); err != nil {
				return err
			}
			return cutOff(c)
		},
		"and a client that resets": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"and a client that waits":  cutOff,
		"and a client that sends without end": func(c *net.TCPConn) error {
			for b := make([]byte, 64<<10); ; {
				if _, err := c.Write(b); wasReset(err) {
					return nil
				} else if err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, vip, s := listening(t, userspace.Config{}, seconds)
			c := dial(t, vip, askHang)
			if err := client(c); err != nil {
				t.Errorf("client: %v", err)
			}
			select {
			case err := <-s.heard:
				if err != nil {
					t.Errorf("server: %v", err)
				}
			case <-time.After(patience()):
				t.Error("the server's connection stays")
			}
			c.Close()
			works(t, vip)
			s.close()
			v.settled(t)
		})
	}
}

// cutOff waits until a connection on which nothing comes is reset.
func cutOff(c *net.TCPConn) error {
	n, err := c.Read(make([]byte, 1))
	if wasReset(err) {
		return nil
	}
	return errors.Join(errors.New("no reset"), errIf(n > 0, "data"), err)
}

func errIf(so bool, text string) error {
	if so {
		return errors.New(text)
	}
	return nil
}

func TestAServerThatResets(t *testing.T) {
	v, vip, s := listening(t, userspace.Config{}, ipvs.Timeouts{})
	for range 50 {
		c := dial(t, vip, askReset)
		if _, err := io.Copy(io.Discard, c); !wasReset(err) {
			t.Fatalf("the client gets %v, want a reset", err)
		}
		c.Close()
	}
	works(t, vip)
	s.close()
	v.settled(t)
}

func TestAServerThatClosesHalf(t *testing.T) {
	v, vip, s := listening(t, userspace.Config{}, ipvs.Timeouts{})
	c := dial(t, vip, askHalf)
	if text, err := io.ReadAll(c); err != nil || string(text) != "half" {
		t.Fatalf("read %q, %v", text, err)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatalf("write after the server's end: %v", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.heard:
		if err != nil {
			t.Errorf("the server read: %v", err)
		}
	case <-time.After(patience()):
		t.Error("the server does not hear of the client's end")
	}
	c.Close()
	s.close()
	v.settled(t)
}

func TestAClientThatClosesHalf(t *testing.T) {
	v, vip, s := listening(t, userspace.Config{}, ipvs.Timeouts{})
	for _, n := range []int{0, 1, 70_000, 5 << 20} {
		if err := summed(vip, n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	s.close()
	v.settled(t)
}

// summed sends so many bytes, ends, and compares the checksum that is answered.
func summed(vip netip.AddrPort, n int) error {
	c, err := tryDial(vip, askSum)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, n)
	pattern(b, 7)
	_, err = c.Write(b)
	if err := errors.Join(err, c.CloseWrite()); err != nil {
		return err
	}
	text, err := io.ReadAll(c)
	if want := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)); err == nil && !bytes.Equal(text, want) {
		return errors.New("another checksum")
	}
	return err
}

func TestAServerThatAcceptsNothing(t *testing.T) {
	closed := freePort(t)
	for name, server := range map[string]netip.AddrPort{"nobody listens": closed, "its backlog is full": deaf(t)} {
		t.Run(name, func(t *testing.T) {
			vip := freePort(t)
			v := newVictim(t, userspace.Config{ConnectTimeout: 500 * time.Millisecond}, ipvs.Timeouts{}, masq(ipvs.TCP, vip, server))
			start := time.Now()
			var clients []net.Conn
			for range 20 {
				if c, err := tryDial(vip, askEcho); err == nil { // or it was reset already
					clients = append(clients, c)
				}
			}
			for _, c := range clients {
				if _, err := io.Copy(io.Discard, c); !wasReset(err) {
					t.Errorf("a client gets %v, want a reset", err)
				}
				c.Close()
			}
			if took := time.Since(start); took > patience()/2 {
				t.Errorf("connections end after %v, with a timeout of 500 ms", took)
			}
			v.settled(t)
		})
	}
}

func TestAClientThatVanishes(t *testing.T) {
	t.Run("with a reset", func(t *testing.T) {
		v, vip, s := listening(t, userspace.Config{}, ipvs.Timeouts{})
		c := dial(t, vip, askHang)
		awaitCount(t, v, 1)
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-s.heard; err != nil {
			t.Errorf("the server hears %v, want a reset", err)
		}
		s.close()
		v.settled(t)
	})
	t.Run("in the middle of an answer", func(t *testing.T) {
		v, vip, s := listening(t, userspace.Config{}, ipvs.Timeouts{})
		for range 20 {
			c := dial(t, vip, askStream)
			if _, err := io.CopyN(io.Discard, c, 100_000); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
				t.Fatal(err)
			}
		}
		s.close()
		v.settled(t)
	})
	t.Run("in silence", func(t *testing.T) {
		v, vip, s := listening(t, userspace.Config{}, seconds)
		start := time.Now()
		c := dial(t, vip, askEcho)
		if err := echoed(c, 1000); err != nil {
			t.Fatal(err)
		}
		if err := cutOff(c); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < seconds.TCP {
			t.Errorf("cut after %v, the timeout is %v", took, seconds.TCP)
		}
		c.Close()
		s.close()
		v.settled(t)
	})
}

// awaitCount waits for so many active connections.
func awaitCount(t *testing.T, v *victim, n int) {
	t.Helper()
	await(t, func() error {
		list, err := v.Services(context.Background())
		active := 0
		for _, s := range list {
			for _, d := range s.Destinations {
				active += d.Active
			}
		}
		if active != n {
			return fmt.Errorf("%d connections are active, want %d", active, n)
		}
		return err
	})
}

func TestASlowReader(t *testing.T) {
	v, vip, s := listening(t, userspace.Config{Workers: 1}, ipvs.Timeouts{})
	slow := dial(t, vip, askFlood)
	stuck := int64(0)
	for idle := time.Now(); time.Since(idle) < time.Second; time.Sleep(20 * time.Millisecond) { // until the server can send no more
		if n := s.sent.Load(); n > stuck {
			stuck, idle = n, time.Now()
		}
	}
	t.Logf("the server sends %d KiB ahead", stuck>>10)
	if stuck >= floodSize/2 {
		t.Error("nothing holds the server back")
	}
	for range 10 {
		works(t, vip) // others do not wait for it
	}
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for n := 0; n < floodSize; n += len(got) {
		pattern(want, n)
		if _, err := io.ReadFull(slow, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("at %d: %v, or other bytes", n, err)
		}
	}
	if _, err := slow.Read(got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	slow.Close()
	s.close()
	v.settled(t)
}

// TestASlowReaderOfTheRest has a server that has said all, and a client that
// takes longer for it than a connection may be idle. As long as it takes
// something, it gets all; then nothing more.
func TestASlowReaderOfTheRest(t *testing.T) {
	v, vip, s := listening(t, userspace.Config{}, seconds)
	c := dial(t, vip, askStream)
	got, want := make([]byte, streamSize/32), make([]byte, streamSize/32)
	for n := 0; n < streamSize; n += len(got) {
		time.Sleep(150 * time.Millisecond)
		pattern(want, n)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("at %d: %v, or other bytes", n, err)
		}
	}
	c.Close()
	v.idle(t)
	s.sent.Store(0)
	stopped := dial(t, vip, askStream) // takes nothing at all
	await(t, func() error { return errIf(s.sent.Load() < streamSize, "the server has not said all") })
	start := time.Now()
	s.close()
	v.idle(t)
	t.Logf("a client that takes nothing is cut after %v", time.Since(start))
	stopped.Close()
	v.settled(t)
}
