package sysctl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// values reads "net/ipv4/ip_forward=0" words; conf/ stands for net/ipv4/conf/.
func values(t testing.TB, words string) Values {
	t.Helper()
	v := make(Values)
	for word := range strings.FieldsSeq(words) {
		key, value, _ := strings.Cut(word, "=")
		v[key4(t, key)] = value
	}
	return v
}

func key4(t testing.TB, path string) Key {
	t.Helper()
	if strings.HasPrefix(path, "conf/") || path == "ip_forward" {
		path = "net/ipv4/" + path
	}
	k, err := ParseKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func commands(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		b.WriteString(strings.TrimPrefix(c.String(), "sysctl -w ") + " ")
	}
	return strings.TrimSpace(strings.ReplaceAll(b.String(), "net/ipv4/", ""))
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func TestPlan(t *testing.T) {
	type want = []Setting
	set := func(path string, w Want) Setting { return Setting{Key: key4(t, path), Want: w} }
	for _, tt := range []struct {
		name string
		have string
		want want
		plan string
		err  error
	}{
		{"nothing wanted", "ip_forward=0", nil, "", nil},
		{"right already", "ip_forward=1", want{set("ip_forward", Exactly(1))}, "", nil},
		{"wrong", "ip_forward=0", want{set("ip_forward", Exactly(1))}, "ip_forward=1", nil},
		{"the order of settings", "a/b=0 a/a=0", want{set("a/b", Exactly(1)), set("a/a", Exactly(1))}, "a/b=1 a/a=1", nil},
		{
			"ip_forward first, wherever it stands", "a/b=0 ip_forward=0",
			want{set("a/b", Exactly(1)), set("ip_forward", Exactly(1))},
			"ip_forward=1 a/b=1", nil,
		},
		{
			"what ip_forward brings along needs no write", "ip_forward=0 conf/eth0/forwarding=0",
			want{set("conf/eth0/forwarding", Exactly(1)), set("ip_forward", Exactly(1))},
			"ip_forward=1", nil,
		},
		{
			"what ip_forward brings along is set back", "ip_forward=0 conf/eth0/forwarding=0",
			want{set("conf/eth0/forwarding", Exactly(0)), set("ip_forward", Exactly(1))},
			"ip_forward=1 conf/eth0/forwarding=0", nil,
		},
		{
			"accept_redirects of all is reset, too", "ip_forward=0 conf/all/accept_redirects=1",
			want{set("ip_forward", Exactly(1)), set("conf/all/accept_redirects", Exactly(1))},
			"ip_forward=1 conf/all/accept_redirects=1", nil,
		},
		{
			"ip_forward under its other name", "ip_forward=0 conf/all/forwarding=0 conf/eth0/forwarding=0",
			want{set("conf/eth0/forwarding", Exactly(1)), set("conf/all/forwarding", Exactly(1)), set("ip_forward", Exactly(1))},
			"conf/all/forwarding=1", nil,
		},
		{
			"IPv6 forwarding resets IPv6", "net/ipv6/conf/all/forwarding=0 net/ipv6/conf/eth0/forwarding=0 conf/eth0/forwarding=0",
			want{
				set("net/ipv6/conf/eth0/forwarding", Exactly(1)), set("conf/eth0/forwarding", Exactly(1)),
				set("net/ipv6/conf/all/forwarding", Exactly(1)),
			},
			"net/ipv6/conf/all/forwarding=1 conf/eth0/forwarding=1", nil,
		},
		{
			"the larger counts: all is enough", "conf/all/arp_ignore=1 conf/eth0/arp_ignore=0",
			want{set("conf/eth0/arp_ignore", Exactly(1))},
			"", nil,
		},
		{
			"the larger counts: 2 on the interface wins over a strict all", "conf/all/rp_filter=1 conf/eth0/rp_filter=0",
			want{set("conf/eth0/rp_filter", OneOf(0, 2))},
			"conf/eth0/rp_filter=2", nil,
		},
		{
			"the larger counts: 0 cannot win", "conf/all/rp_filter=1 conf/eth0/rp_filter=0",
			want{set("conf/eth0/rp_filter", Exactly(0))},
			"", ErrConflict,
		},
		{
			"all is judged as it will be, and written in the order given", "conf/all/rp_filter=1 conf/eth0/rp_filter=0 conf/eth1/rp_filter=1",
			want{set("conf/eth0/rp_filter", Exactly(1)), set("conf/all/rp_filter", Exactly(0)), set("conf/eth1/rp_filter", Exactly(0))},
			"conf/eth0/rp_filter=1 conf/all/rp_filter=0 conf/eth1/rp_filter=0", nil,
		},
		{
			"either turns it on: both are needed", "conf/all/send_redirects=1 conf/eth0/send_redirects=1",
			want{set("conf/all/send_redirects", Exactly(0)), set("conf/eth0/send_redirects", Exactly(0))},
			"conf/all/send_redirects=0 conf/eth0/send_redirects=0", nil,
		},
		{
			"either turns it on: all alone forbids it", "conf/all/send_redirects=1 conf/eth0/send_redirects=0",
			want{set("conf/eth0/send_redirects", Exactly(0))},
			"", ErrConflict,
		},
		{
			"either turns it on: one will do", "conf/all/accept_local=0 conf/eth0/accept_local=0",
			want{set("conf/eth0/accept_local", Exactly(1))},
			"conf/eth0/accept_local=1", nil,
		},
		{
			"default is no interface", "conf/all/rp_filter=1 conf/default/rp_filter=0",
			want{set("conf/default/rp_filter", Exactly(0))},
			"", nil,
		},
		{"missing", "", want{set("ip_forward", Exactly(1))}, "", fs.ErrNotExist},
		{"missing, but optional", "", want{{Key: IPv4("ip_forward"), Want: Exactly(1), Optional: true}}, "", nil},
		{"out of range", "conf/eth0/rp_filter=1", want{set("conf/eth0/rp_filter", Exactly(5))}, "", ErrRange},
		{"out of range in the kernel", "conf/all/rp_filter=0 conf/eth0/rp_filter=5", want{set("conf/eth0/rp_filter", AtMost(2))}, "conf/eth0/rp_filter=2", nil},
		{"two roles against each other", "ip_forward=0", want{set("ip_forward", Exactly(1)), set("ip_forward", Exactly(0))}, "", ErrConflict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have := values(t, tt.have)
			before := values(t, tt.have)
			changes, err := Plan(have, tt.want)
			if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if got := commands(changes); got != tt.plan {
				t.Errorf("got  %s\nwant %s", got, tt.plan)
			}
			if !cmp.Equal(have, before) {
				t.Error("Plan changed what it was given")
			}
		})
	}
}

func TestPlanRecordsWhatTheKernelResets(t *testing.T) {
	have := values(t, "ip_forward=0 conf/all/forwarding=0 conf/eth0/forwarding=1 conf/default/forwarding=0 conf/all/accept_redirects=1 conf/eth0/accept_redirects=1")
	changes, err := Plan(have, []Setting{{Key: IPv4("ip_forward"), Want: Exactly(1), Reason: "why"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{
		Key: IPv4("ip_forward"), Old: "0", New: "1", Reason: "why",
		Resets: []Reset{
			{IPv4Conf("all", "accept_redirects"), "1", "0"},
			{IPv4Conf("default", "forwarding"), "0", "1"},
			{IPv4Conf("eth0", "forwarding"), "1", "1"},
		},
	}}
	if diff := cmp.Diff(want, changes, cmp.AllowUnexported(Key{})); diff != "" {
		t.Error(diff)
	}
}

func TestChangePrintsAsTyped(t *testing.T) {
	for _, tt := range []struct {
		change Change
		want   string
	}{
		{Change{Key: IPv4("ip_forward"), New: "1"}, "sysctl -w net/ipv4/ip_forward=1"},
		{Change{Key: IPv4Conf("eth0.100", "rp_filter"), New: "2"}, "sysctl -w net/ipv4/conf/eth0.100/rp_filter=2"},
		{Change{Key: IPv4("ip_local_port_range"), New: "1024 2000"}, "sysctl -w 'net/ipv4/ip_local_port_range=1024 2000'"},
		{Change{Key: IPv4Conf("$(reboot)'", "rp_filter"), New: "2"}, `sysctl -w 'net/ipv4/conf/$(reboot)'\''/rp_filter=2'`},
	} {
		if got := tt.change.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// One row per macro of include/linux/inetdevice.h.
func TestEffective(t *testing.T) {
	for _, tt := range []struct{ name, have, key, want string }{
		{"max, all larger", "conf/all/rp_filter=2 conf/e/rp_filter=1", "conf/e/rp_filter", "2"},
		{"max, interface larger", "conf/all/arp_ignore=0 conf/e/arp_ignore=8", "conf/e/arp_ignore", "8"},
		{"or, neither", "conf/all/send_redirects=0 conf/e/send_redirects=0", "conf/e/send_redirects", "0"},
		{"or, all", "conf/all/send_redirects=1 conf/e/send_redirects=0", "conf/e/send_redirects", "1"},
		{"or, interface", "conf/all/arp_filter=0 conf/e/arp_filter=1", "conf/e/arp_filter", "1"},
		{"and, one", "conf/all/accept_source_route=0 conf/e/accept_source_route=1", "conf/e/accept_source_route", "0"},
		{"and, both", "conf/all/mc_forwarding=1 conf/e/mc_forwarding=1", "conf/e/mc_forwarding", "1"},
		{"interface only", "conf/all/forwarding=1 conf/e/forwarding=0", "conf/e/forwarding", "0"},
		{"redirects, forwarding: and", "conf/all/accept_redirects=0 conf/e/accept_redirects=1 conf/e/forwarding=1", "conf/e/accept_redirects", "0"},
		{"redirects, not forwarding: or", "conf/all/accept_redirects=0 conf/e/accept_redirects=1 conf/e/forwarding=0", "conf/e/accept_redirects", "1"},
		{"IPv6 has no all", "net/ipv6/conf/all/accept_redirects=1 net/ipv6/conf/e/accept_redirects=0", "net/ipv6/conf/e/accept_redirects", "0"},
		{"all itself", "conf/all/rp_filter=1", "conf/all/rp_filter", "1"},
		{"all unknown", "conf/e/rp_filter=1", "conf/e/rp_filter", "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := Effective(values(t, tt.have), key4(t, tt.key)); got != tt.want || !ok {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
	if _, ok := Effective(nil, IPv4("ip_forward")); ok {
		t.Error("a value from nothing")
	}
}

func TestCheck(t *testing.T) {
	have := values(t, "conf/all/rp_filter=1 conf/eth0/rp_filter=0 conf/eth1/rp_filter=2 conf/all/arp_ignore=0 conf/eth0/arp_ignore=0")
	findings, err := Check(have, []Setting{
		{Key: IPv4Conf("eth0", "rp_filter"), Want: Exactly(0), Reason: "asymmetric"},
		{Key: IPv4Conf("eth1", "rp_filter"), Want: OneOf(0, 2)},
		{Key: IPv4Conf("eth0", "arp_ignore"), Want: Exactly(1), Reason: "quiet"},
		{Key: IPVS("conntrack"), Want: Exactly(1), Reason: "SNAT"},
		{Key: IPVS("backup_only"), Want: Exactly(1), Optional: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	want := []string{
		"net/ipv4/conf/eth0/rp_filter is 1, wanted 0 (because of net/ipv4/conf/all/rp_filter: the larger of all and interface counts): asymmetric",
		"net/ipv4/conf/eth0/arp_ignore is 0, wanted 1: quiet",
		"net/ipv4/vs/conntrack is missing, wanted 1: SNAT",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if len(findings) == 3 && (findings[0].Fault != IPv4Conf("all", "rp_filter") || findings[1].Fault != IPv4Conf("eth0", "arp_ignore") || !findings[2].Missing) {
		t.Errorf("wrong key at fault: %+v", findings)
	}
}
