package lab_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if doomed := os.Getenv(doomedEnv); doomed != "" {
		buildDoomed(doomed)
	}
	labtest.Main(m)
}

// pair is two connected hosts: 10.0.0.1 and fd00::1, 10.0.0.2 and fd00::2.
type pair struct {
	ctx      context.Context
	lab      *lab.Lab
	lan      *lab.Switch
	a, b     *lab.Host
	atA, atB *lab.Link
}

func newPair(t testing.TB) *pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	l := labtest.New(t)
	p := &pair{ctx: ctx, lab: l, lan: labtest.Switch(t, l, "lan"), a: labtest.Host(t, l, "a"), b: labtest.Host(t, l, "b")}
	p.atA = labtest.Connect(t, p.a, p.lan, "10.0.0.1/24", "fd00::1/64")
	p.atB = labtest.Connect(t, p.b, p.lan, "10.0.0.2/24", "fd00::2/64")
	return p
}

func TestConfigurationErrors(t *testing.T) {
	p := newPair(t)
	connect := func(cfg lab.LinkConfig) error {
		_, err := p.a.Connect(p.lan, cfg)
		return err
	}
	other := labtest.Switch(t, labtest.New(t), "other")
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, tt := range []struct {
		name string
		err  error
		want error  // errors.Is
		text string // in the message
	}{
		{"host twice", second(p.lab.Host("a")), fs.ErrExist, "host a"},
		{"host without name", second(p.lab.Host("")), fs.ErrInvalid, "name"},
		{"switch twice", second(p.lab.Switch("lan")), fs.ErrExist, "switch lan"},
		{"switch without name", second(p.lab.Switch("")), fs.ErrInvalid, "name"},
		{"switch of another lab", second(p.a.Connect(other, lab.LinkConfig{})), nil, "another lab"},
		{"interface name of 16 bytes", connect(lab.LinkConfig{Name: "abcdefghijklmnop"}), fs.ErrInvalid, "15"},
		{"interface name with a slash", connect(lab.LinkConfig{Name: "a/b"}), fs.ErrInvalid, "a/b"},
		{"interface name as a pattern", connect(lab.LinkConfig{Name: "v%d"}), fs.ErrInvalid, "v%d"},
		{"interface twice", connect(lab.LinkConfig{Name: "eth0"}), fs.ErrExist, "eth0"},
		{"mtu below IPv4's least", connect(lab.LinkConfig{MTU: 67}), fs.ErrInvalid, "67"},
		{"mtu above 65535", connect(lab.LinkConfig{MTU: 65536}), fs.ErrInvalid, "65536"},
		{"multicast mac", connect(lab.LinkConfig{MAC: net.HardwareAddr{1, 0, 0, 0, 0, 0}}), fs.ErrInvalid, "01:00"},
		{"short mac", connect(lab.LinkConfig{MAC: net.HardwareAddr{2}}), fs.ErrInvalid, "02"},
		{"no address", connect(lab.LinkConfig{Addrs: []netip.Prefix{{}}}), fs.ErrInvalid, "address"},
		{"address twice", connect(lab.LinkConfig{Addrs: []netip.Prefix{prefix("10.9.0.1/24"), prefix("10.9.0.1/24")}}), fs.ErrExist, "10.9.0.1"},
		{"route through another family", p.a.Route(prefix("10.5.0.0/16"), addr("fd00::2")), fs.ErrInvalid, "fd00::2"},
		{"route nowhere", p.a.Route(netip.Prefix{}, addr("10.0.0.2")), fs.ErrInvalid, "route"},
		{"route via a stranger", p.a.Route(prefix("10.5.0.0/16"), addr("172.16.0.1")), nil, "no link"},
		{"loss above 1", p.atA.Impair(lab.Impairment{Loss: 1.5}), fs.ErrInvalid, "1.5"},
		{"negative delay", p.atA.Impair(lab.Impairment{Delay: -1}), fs.ErrInvalid, "-1ns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			switch {
			case tt.err == nil:
				t.Error("no error")
			case tt.want != nil && !errors.Is(tt.err, tt.want):
				t.Errorf("%v does not match %v", tt.err, tt.want)
			case !strings.Contains(tt.err.Error(), tt.text):
				t.Errorf("%v does not speak of %q", tt.err, tt.text)
			}
		})
	}
	// What went wrong must not have left an interface behind.
	if links := labtest.Run(t, p.a, "ip", "-o", "link", "show", "type", "veth"); strings.Count(links, "\n") != 1 {
		t.Errorf("host a has\n%s\nwant eth0 alone", links)
	}
}

func second[T any](_ T, err error) error { return err }
