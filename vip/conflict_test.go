package vip

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConflictsAreToldAndDefendedAtAPace(t *testing.T) {
	c, start := newConflicts(), time.Unix(1000, 0)
	claim := func(addr, mac string) claimed {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		return claimed{addr: netip.MustParseAddr(addr), mac: string(hw), index: 2}
	}
	b, d := claim("10.0.0.1", "02:00:00:00:00:0b"), claim("10.0.0.1", "02:00:00:00:00:0d")
	for _, step := range []struct {
		s      float64
		claim  claimed
		worth  bool
		defend bool
	}{
		{0, b, true, true},
		{0.01, d, false, false}, // too soon for another look
		{0.06, b, false, false},
		{0.06, d, true, false},
		{9.9, b, false, false},
		{10, b, true, true},
		{10.06, claim("10.0.0.2", "02:00:00:00:00:0b"), true, true},
		{10.2, d, true, false},
	} {
		now := start.Add(time.Duration(step.s * 1e9))
		worth := c.worth(now, step.claim)
		if worth != step.worth || worth && c.real(now, step.claim) != step.defend {
			t.Errorf("at %v: worth a look %v, want %v; defend %v", step.s, worth, step.worth, step.defend)
		}
	}
	for i := range 3 * mostClaims {
		one := b
		one.addr, one.mac = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), fmt.Sprintf("%06d", i)
		c.real(start, one)
	}
	if len(c.told) > mostClaims || len(c.defended) > mostClaims {
		t.Errorf("a flood is remembered: %d, %d", len(c.told), len(c.defended))
	}
}

func TestClaims(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	arp := "ffffffffffff 020000000009 0806 0001 0800 06 04 0001 020000000007 SENDER 000000000000 0a000001"
	frame := func(text string) []byte {
		var b []byte
		if _, err := fmt.Sscanf(strings.ReplaceAll(text, " ", ""), "%x", &b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	na := advertisement(mac, netip.MustParseAddr("fd00::1"), false)
	for _, tt := range []struct {
		name  string
		frame []byte
		want  claimed
		ok    bool
	}{
		{"an ARP packet", frame(strings.Replace(arp, "SENDER", "0a000005", 1)), claimed{addr: netip.MustParseAddr("10.0.0.5"), mac: string(mac)}, true},
		{"an ARP probe", frame(strings.Replace(arp, "SENDER", "00000000", 1)), claimed{addr: netip.MustParseAddr("10.0.0.1"), mac: string(mac), probe: true}, true},
		{"an advertisement", na, claimed{addr: netip.MustParseAddr("fd00::1"), mac: string(mac)}, true},
		{"an advertisement without its option", na[:78], claimed{addr: netip.MustParseAddr("fd00::1"), mac: string(mac)}, true},
		{"cut short", na[:77], claimed{}, false},
		{"ARP of another link layer", frame(strings.Replace(strings.Replace(arp, "SENDER", "0a000005", 1), "0001 0800", "0006 0800", 1)), claimed{}, false},
		{"nothing", nil, claimed{}, false},
	} {
		got, ok := parseClaim(tt.frame)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
	}
	forged := append([]byte(nil), na...)
	forged[etherHead+7] = 64
	if _, ok := parseClaim(forged); ok {
		t.Error("an advertisement that came from elsewhere is believed")
	}
	c := claimed{mac: string(mac), index: 2}
	eth0 := Link{Index: 2, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	for _, tt := range []struct {
		name  string
		link  *Link
		links []Link
		want  bool
	}{
		{"another's", &eth0, []Link{eth0}, true},
		{"that of our own interface", &eth0, []Link{eth0, {Index: 3, MAC: mac}}, false},
		{"heard elsewhere", &Link{Index: 3}, nil, false},
		{"of nothing", nil, nil, false},
	} {
		if got := c.concerns(tt.link, tt.links); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func FuzzClaim(f *testing.F) {
	f.Add(advertisement(net.HardwareAddr{2, 0, 0, 0, 0, 7}, netip.MustParseAddr("fd00::1"), false))
	f.Add(make([]byte, 60))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if c, ok := parseClaim(frame); ok && (!c.addr.IsValid() || len(c.mac) != 6) {
			t.Errorf("%+v", c)
		}
	})
}

func TestConfigOfConflicts(t *testing.T) {
	for _, cfg := range []Config{{OnConflict: 9}, {Probe: -1}, {Probe: time.Hour}} {
		if _, err := New(cfg); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if got := fmt.Sprint(Defend, Observe, Ignore, ConflictPolicy(9), Conflict); got != "defend observe ignore policy 9 conflict" {
		t.Error(got)
	}
}
