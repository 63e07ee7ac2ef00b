package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

var clusterVIP = netip.MustParseAddr("192.168.247.188")

// cluster is a client, a director that has the virtual address, and a real
// server that is to have it too.
type cluster struct {
	client, director, server *lab.Host
	link                     *lab.Link // of the server
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	c := cluster{labtest.Host(t, l, "client"), labtest.Host(t, l, "director"), labtest.Host(t, l, "server"), nil}
	labtest.Connect(t, c.client, lan, "192.168.247.134/24", "fd00::134/64")
	labtest.Connect(t, c.director, lan, "192.168.247.131/24", "fd00::131/64")
	c.link = labtest.Connect(t, c.server, lan, "192.168.247.135/24", "fd00::135/64")
	return c
}

// on wraps a host of the lab for the helpers of this package.
func on(t *testing.T, h *lab.Host) *host { return &host{t, h.Path(), t.TempDir()} }

// echo answers every UDP packet to addr with name.
func echo(t *testing.T, h *lab.Host, addr netip.AddrPort, name string) {
	t.Helper()
	conn, err := h.ListenPacket("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo([]byte(name), from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
}

// ask sends a UDP packet and returns the answer.
func ask(t *testing.T, h *lab.Host, addr netip.AddrPort) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.WriteString(conn, "who"); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// tellsVIP is an ARP frame of the server that has the virtual address as the
// sender's: an answer for it, or a question that leaks it.
func (c cluster) tellsVIP(f lab.Frame) bool {
	d := f.Data
	return f.FromHost && len(d) >= 42 && d[12] == 8 && d[13] == 6 && bytes.Equal(d[28:32], clusterVIP.AsSlice())
}

func (c cluster) leaks(t *testing.T, what func()) int {
	t.Helper()
	capture, err := c.link.Capture(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	for _, h := range []*lab.Host{c.client, c.server} {
		labtest.Run(t, h, "ip", "neigh", "flush", "all")
	}
	what()
	n := 0
	for _, f := range capture.Frames() {
		if c.tellsVIP(f) {
			n++
		}
	}
	return n
}

func TestSuppressARPKeepsARealServerSilent(t *testing.T) {
	for _, ingress := range [][]string{{"eth0"}, nil} {
		t.Run(fmt.Sprint("on ", ingress), func(t *testing.T) {
			c := newCluster(t)
			need.Program(t, "ip")
			director, server := on(t, c.director), on(t, c.server)
			md, ms := director.manager(Config{}), server.manager(Config{})
			director.apply(md, want("192.168.247.188@eth0"))
			echo(t, c.director, netip.AddrPortFrom(clusterVIP, 80), "director")
			var who string
			asked := func() { who, _ = ask(t, c.client, netip.AddrPortFrom(clusterVIP, 80)) }
			// From the virtual address to one that must be found by ARP first.
			told := func() {
				d := net.Dialer{LocalAddr: &net.UDPAddr{IP: clusterVIP.AsSlice()}, Timeout: time.Second}
				err := c.server.Do(func() error {
					conn, err := d.DialContext(t.Context(), "udp", "192.168.247.134:9")
					if err != nil {
						return err
					}
					defer conn.Close()
					_, err = io.WriteString(conn, "x")
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := ask(t, c.client, netip.MustParseAddrPort("192.168.247.135:7")); err == nil {
					t.Error("nobody listens on port 7")
				}
			}

			server.apply(ms, want("192.168.247.188@lo"))
			if c.leaks(t, asked) == 0 || c.leaks(t, told) == 0 {
				t.Error("without suppression the real server should have told the virtual address: the test shows nothing")
			}
			state := DirectRouting([]netip.Addr{clusterVIP}, ingress...)
			iface := state.SuppressARP[0]
			equal(t, "changes", server.apply(ms, state), []string{
				"sysctl -w net/ipv4/conf/" + iface + "/arp_ignore=1", "sysctl -w net/ipv4/conf/" + iface + "/arp_announce=2",
			})
			if n := c.leaks(t, asked); n != 0 {
				t.Errorf("%d answers of the real server for the virtual address", n)
			}
			if who != "director" {
				t.Errorf("the client reached %q, want the director", who)
			}
			if n := c.leaks(t, told); n != 0 {
				t.Errorf("%d questions of the real server that tell the virtual address", n)
			}
			equal(t, "again", server.apply(ms, state), []string{})
			server.release(ms)
			if got := server.sysctl(iface, "arp_ignore") + server.sysctl(iface, "arp_announce"); got != "00" {
				t.Errorf("arp_ignore, arp_announce after release: %s, want 00", got)
			}
		})
	}
}

func TestSettingsComeFirstAndGoLast(t *testing.T) {
	h := newHost(t)
	m := h.manager(Config{})
	state := DirectRouting([]netip.Addr{clusterVIP}, "eth0")
	equal(t, "applied", h.apply(m, state), []string{
		"sysctl -w net/ipv4/conf/eth0/arp_ignore=1",
		"sysctl -w net/ipv4/conf/eth0/arp_announce=2",
		"ip address add 192.168.247.188/32 dev lo",
	})
	equal(t, "released", h.apply(m, State{}), []string{
		"ip address del 192.168.247.188/32 dev lo",
		"sysctl -w net/ipv4/conf/eth0/arp_ignore=0",
		"sysctl -w net/ipv4/conf/eth0/arp_announce=0",
	})
}

func TestOriginalSettings(t *testing.T) {
	state := DirectRouting([]netip.Addr{clusterVIP}, "eth0")
	settings := func(h *host) string { return h.sysctl("eth0", "arp_ignore") + " " + h.sysctl("eth0", "arp_announce") }

	t.Run("survive a kill, twice", func(t *testing.T) {
		h := newHost(t)
		h.set("ipv4", "eth0", "arp_announce", "1")
		for range 2 {
			m := h.manager(Config{})
			h.apply(m, state)
			m.Close()
		}
		m := h.manager(Config{})
		h.release(m)
		if got := settings(h); got != "0 1" {
			t.Errorf("restored %s, want 0 1", got)
		}
	})
	t.Run("do not undo what somebody else has set since", func(t *testing.T) {
		h := newHost(t)
		m := h.manager(Config{})
		h.apply(m, state)
		h.set("ipv4", "eth0", "arp_ignore", "8")
		h.release(m)
		if got := settings(h); got != "8 0" {
			t.Errorf("restored %s, want 8 0", got)
		}
	})
	t.Run("are left alone where they are right", func(t *testing.T) {
		h := newHost(t)
		h.set("ipv4", "eth0", "arp_ignore", "2")
		h.set("ipv4", "eth0", "arp_announce", "2")
		m := h.manager(Config{})
		equal(t, "changes", h.apply(m, state), []string{"ip address add 192.168.247.188/32 dev lo"})
		h.release(m)
		if got := settings(h); got != "2 2" {
			t.Errorf("afterwards %s, want 2 2", got)
		}
	})
	t.Run("follow a renamed interface", func(t *testing.T) {
		h := newHost(t)
		m := h.manager(Config{})
		h.apply(m, state)
		h.ip("link set eth0 down")
		h.ip("link set eth0 name lan.0")
		h.release(m)
		if got := h.sysctl("lan.0", "arp_ignore"); got != "0" {
			t.Errorf("arp_ignore = %s, want 0", got)
		}
	})
	t.Run("go with their interface", func(t *testing.T) {
		h := newHost(t)
		m := h.manager(Config{})
		h.apply(m, state)
		h.ip("link del eth0")
		h.ip("link add eth0 type veth peer name eth0p")
		h.set("ipv4", "eth0", "arp_ignore", "1")
		h.release(m)
		if got := h.sysctl("eth0", "arp_ignore"); got != "1" {
			t.Errorf("arp_ignore of the new interface = %s, want 1", got)
		}
	})
}

func TestNoAddressWhereARPCannotBeSuppressed(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*host)
		state State
		text  string
	}{
		{"no such interface", func(*host) {}, DirectRouting([]netip.Addr{clusterVIP}, "eth7"), "no interface eth7"},
		{"all overrides", func(h *host) { h.set("ipv4", "all", "arp_ignore", "3") }, DirectRouting([]netip.Addr{clusterVIP}, "eth0"), "net/ipv4/conf/all/arp_ignore=3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			m := h.manager(Config{})
			tt.spoil(h)
			_, err := m.Apply(t.Context(), tt.state)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("err = %v, want %q", err, tt.text)
			}
			equal(t, "lo", h.prefixes("lo"), nil)
		})
	}
}

func TestRunDirThatCannotBeWritten(t *testing.T) {
	h := newHost(t)
	h.dir = "/proc/nowhere"
	m := h.manager(Config{})
	if _, err := m.Apply(t.Context(), want("10.0.0.1@eth0")); err != nil {
		t.Errorf("an address alone needs no run dir: %v", err)
	}
	_, err := m.Apply(t.Context(), DirectRouting([]netip.Addr{clusterVIP}, "eth0"))
	var op *OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), "RunDir") {
		t.Errorf("err = %v, want one that names RunDir", err)
	}
	if got := h.sysctl("eth0", "arp_ignore"); got != "0" {
		t.Errorf("changed without a note: arp_ignore = %s", got)
	}
	equal(t, "lo", h.prefixes("lo"), nil)
}
