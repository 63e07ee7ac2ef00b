package vrrp

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
)

// advertise advertises a priority of 254 from our host, until resign is called or
// the test ends.
func (f *fixture) advertise(t *testing.T, our *lab.Host, w *wire) (resign func()) {
	send := f.sender(t, our, w)
	task := our.Go(func(ctx context.Context) error {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := send(254); err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return send(0)
			}
		}
	})
	return func() {
		t.Helper()
		if err := task.Stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// silent fails the test if the peer sends anything. With its priority of 200 it
// would advertise after 3.22 s, had it not accepted what we send.
func (f *fixture) silent(t *testing.T, c *lab.Capture) {
	t.Helper()
	time.Sleep(5 * time.Second) // nothing is waited for: it is the time of silence
	for _, frame := range c.Frames() {
		if frame.FromHost {
			t.Fatalf("the peer does not mind our priority of 254, and sends %x", frame.Data)
		}
	}
}

// sender sends advertisements of a priority from a host, with w.
func (f *fixture) sender(t *testing.T, our *lab.Host, w *wire) func(priority uint8) error {
	src, dst := netip.MustParseAddr(fixtureOur4), w.cfg.Multicast
	family, level := unix.AF_INET, unix.IPPROTO_IP
	options := map[int]int{unix.IP_TTL: 255, unix.IP_MULTICAST_TTL: 255, unix.IP_MTU_DISCOVER: unix.IP_PMTUDISC_DO}
	if w.cfg.ipv6() {
		src, family, level = netip.MustParseAddr(fixtureOur6), unix.AF_INET6, unix.IPPROTO_IPV6
		options = map[int]int{unix.IPV6_UNICAST_HOPS: 255, unix.IPV6_MULTICAST_HOPS: 255}
	}
	if len(w.cfg.Peers) > 0 {
		dst = w.cfg.Peers[0]
	}
	protocol := protocolVRRP
	if w.cfg.Auth.Kind == AuthAH {
		protocol = protocolAH
	}
	var fd int
	err := our.Do(func() (err error) {
		if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
			return err
		}
		for option, value := range options {
			if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
				return err
			}
		}
		if err := unix.BindToDevice(fd, "eth0"); err != nil {
			return err
		}
		if family == unix.AF_INET {
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: src.As4()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	p := w.packetOf()
	return func(priority uint8) error {
		p.Priority = priority
		b := w.encode(nil, &p, src, dst, time.Now())
		if family == unix.AF_INET {
			return unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: dst.As4()})
		}
		return unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: dst.As16()})
	}
}
