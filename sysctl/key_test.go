package sysctl

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	for _, tt := range []struct {
		name  string
		key   Key
		path  string
		iface string
	}{
		{"a plain key", IPv4("ip_forward"), "net/ipv4/ip_forward", ""},
		{"an interface with a dot", IPv4Conf("eth0.100", "rp_filter"), "net/ipv4/conf/eth0.100/rp_filter", "eth0.100"},
		{"all is an interface of its own", IPv6Conf("all", "forwarding"), "net/ipv6/conf/all/forwarding", "all"},
		{"a neighbour table", NewKey("net", "ipv4", "neigh", "default", "gc_thresh1"), "net/ipv4/neigh/default/gc_thresh1", "default"},
		{"IPVS", IPVS("conntrack"), "net/ipv4/vs/conntrack", ""},
		{"outside net", NewKey("vm", "overcommit_memory"), "vm/overcommit_memory", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.key.Validate(); err != nil {
				t.Fatal(err)
			}
			if tt.key.String() != tt.path || tt.key.Interface() != tt.iface {
				t.Errorf("got %q of interface %q, want %q of %q", tt.key, tt.key.Interface(), tt.path, tt.iface)
			}
			if parsed, err := ParseKey(tt.path); parsed != tt.key || err != nil {
				t.Errorf("ParseKey(%q) = %v, %v", tt.path, parsed, err)
			}
		})
	}
}

func TestBadKeyIsRefusedEverywhere(t *testing.T) {
	for name, k := range map[string]Key{
		"zero":                    {},
		"an interface named ..":   IPv4Conf("..", "rp_filter"),
		"an interface named .":    IPv4Conf(".", "rp_filter"),
		"a slash in a name":       IPv4Conf("../../kernel", "core_pattern"),
		"no name":                 IPv4Conf("", "rp_filter"),
		"a space":                 IPv4Conf("eth 0", "rp_filter"),
		"a line break":            IPv4Conf("eth0\n", "rp_filter"),
		"a NUL":                   IPv4Conf("eth0\x00", "rp_filter"),
		"not UTF-8":               IPv4Conf("eth\xff", "rp_filter"),
		"endless":                 IPv4Conf(strings.Repeat("x", 256), "rp_filter"),
		"one component":           NewKey("net"),
		"dotted in one component": NewKey("net.ipv4.ip_forward"),
	} {
		t.Run(name, func(t *testing.T) {
			want := []Setting{{Key: k, Want: Exactly(1)}}
			_, planErr := Plan(Values{k: "0"}, want)
			_, checkErr := Check(Values{k: "0"}, want)
			_, formatErr := Format(want)
			_, jsonErr := json.Marshal(Change{Key: k})
			for _, err := range []error{k.Validate(), planErr, checkErr, formatErr, jsonErr} {
				if !errors.Is(err, ErrKey) || !errors.Is(err, fs.ErrInvalid) {
					t.Errorf("got error %v, want ErrKey", err)
				}
			}
			if k.Interface() != "" || RuleOf(k) != Own {
				t.Error("an invalid key has an interface")
			}
		})
	}
}

func TestParseKeyRefusesDots(t *testing.T) {
	for _, s := range []string{"net.ipv4.ip_forward", "/net/ipv4/ip_forward", "net//ip_forward", "net/ipv4/", "", "/"} {
		if _, err := ParseKey(s); !errors.Is(err, ErrKey) {
			t.Errorf("ParseKey(%q): error %v, want ErrKey", s, err)
		}
	}
}

func TestChangeSurvivesJSON(t *testing.T) {
	c := Change{
		Key: IPv4("ip_forward"), Old: "0", New: "1", Reason: "because",
		Resets: []Reset{{IPv4Conf("eth0.100", "forwarding"), "0", "1"}},
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Change
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Key != c.Key || back.Old != c.Old || back.New != c.New || back.Reason != c.Reason || len(back.Resets) != 1 || back.Resets[0] != c.Resets[0] {
		t.Errorf("got %+v, want %+v", back, c)
	}
	if err := json.Unmarshal([]byte(`{"key":"net/../../etc/passwd"}`), &back); !errors.Is(err, ErrKey) {
		t.Errorf("a key out of /proc/sys: error %v, want ErrKey", err)
	}
}
