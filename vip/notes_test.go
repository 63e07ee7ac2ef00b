package vip

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func someNotes() notes {
	return notes{
		Boot:      "b",
		Settings:  []notedSetting{{0, ARPIgnore, 0, 1}, {7, RPFilter, 1, 2}},
		Ports:     []GUE{{6080, false}, {6080, true}},
		Addresses: []notedAddress{{7, netip.MustParsePrefix("10.0.0.1/32"), "eth0:lvskit"}, {7, netip.MustParsePrefix("fd00::1/128"), ""}},
	}
}

func TestNotesComeBack(t *testing.T) {
	n := someNotes()
	data, err := n.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeNotes(data, "b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n, back, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	other, err := decodeNotes(data, "c")
	if err != nil || !other.empty() {
		t.Errorf("notes of another boot: %+v, %v", other, err)
	}
}

func TestHostileNotes(t *testing.T) {
	for _, text := range []string{
		"", "{", "[]", "null x", `{"boot":1}`, strings.Repeat(" ", maxNotes+1),
		`{"boot":"b","settings":[{"ifindex":1,"key":"../../x","was":0,"set":1}]}`,
		`{"boot":"b","settings":[{"ifindex":-1,"key":"arp_ignore"}]}`,
		`{"boot":"b","settings":[{"ifindex":1,"key":"arp_ignore","was":99999999999}]}`,
		`{"boot":"b","addresses":[{"ifindex":0,"prefix":"10.0.0.1/32"}]}`,
		`{"boot":"b","addresses":[{"ifindex":1,"prefix":"nonsense"}]}`,
		`{"boot":"b","addresses":[{"ifindex":1}]}`,
		`{"boot":"b","addresses":[{"ifindex":1,"prefix":"10.0.0.1/32","label":"sixteen-bytes-xx"}]}`,
		`{"boot":"b","ports":[{"Port":65536}]}`,
	} {
		n, err := decodeNotes([]byte(text), "b")
		if err == nil || !n.empty() || n.Boot != "b" {
			t.Errorf("%.60s: %+v, %v", text, n, err)
		}
	}
}

func TestNotesOwn(t *testing.T) {
	n := someNotes()
	present := func(index int, prefix, label string) Present {
		p := netip.MustParsePrefix(prefix)
		return Present{Index: index, Address: Address{Addr: p.Addr(), Bits: p.Bits(), Label: label}}
	}
	tests := []struct {
		name string
		p    Present
		owns bool
	}{
		{"the same", present(7, "10.0.0.1/32", "eth0:lvskit"), true},
		{"IPv6, which has no label", present(7, "fd00::1/128", ""), true},
		{"another label", present(7, "10.0.0.1/32", "eth0"), false},
		{"another interface", present(8, "10.0.0.1/32", "eth0:lvskit"), false},
		{"another prefix", present(7, "10.0.0.1/24", "eth0:lvskit"), false},
	}
	for _, tt := range tests {
		if got := n.owns(tt.p); got != tt.owns {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	n.prune([]Link{{Index: 7}}, []Present{present(7, "fd00::1/128", "")})
	if len(n.Addresses) != 1 || len(n.Settings) != 2 {
		t.Errorf("pruned to %+v", n)
	}
	n.prune(nil, nil)
	if len(n.Addresses) != 0 || len(n.Settings) != 1 || n.Settings[0].Index != 0 {
		t.Errorf("pruned to %+v", n)
	}
}

func TestTheFirstOriginalStays(t *testing.T) {
	var n notes
	n.noteSetting(notedSetting{3, ARPIgnore, 8, 1})
	n.noteSetting(notedSetting{3, ARPIgnore, 1, 2})
	if len(n.Settings) != 1 || n.Settings[0] != (notedSetting{3, ARPIgnore, 8, 2}) {
		t.Errorf("%+v", n.Settings)
	}
	n.dropSetting(3, ARPIgnore)
	if !n.empty() {
		t.Errorf("%+v", n)
	}
}

func FuzzDecodeNotes(f *testing.F) {
	n := someNotes()
	data, _ := n.encode()
	f.Add(data)
	f.Add([]byte(`{"boot":"b","settings":[{"key":"rp_filter"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := decodeNotes(data, "b")
		if err != nil {
			if !n.empty() {
				t.Fatalf("notes along with %v", err)
			}
			return
		}
		again, err := n.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeNotes(again, "b")
		if err != nil {
			t.Fatalf("own notes are refused: %v", err)
		}
		if diff := cmp.Diff(n, back, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
