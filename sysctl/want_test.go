package sysctl

import (
	"errors"
	"testing"
)

func TestWant(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  Want
		have  string
		right bool
		write string // first candidate, if not right
		text  string
	}{
		{"exactly, and it is", Exactly(1), "1", true, "", "1"},
		{"exactly, and it is not", Exactly(1), "0", false, "1", "1"},
		{"a line break does not matter", Exactly(1), "1\n", true, "", "1"},
		{"no number at all", Exactly(1), "yes", false, "1", "1"},
		{"too large for a number", AtLeast(1), "99999999999999999999", false, "1", "at least 1"},
		{"the second of several", OneOf(2, 0), "0", true, "", "2 or 0"},
		{"none of several: the first", OneOf(2, 0), "1", false, "2", "2 or 0"},
		{"at least, and more", AtLeast(4096), "80000", true, "", "at least 4096"},
		{"at least, and less", AtLeast(4096), "128", false, "4096", "at least 4096"},
		{"at most, and less", AtMost(2), "0", true, "", "at most 2"},
		{"at most, and more", AtMost(2), "5", false, "2", "at most 2"},
		{"below a range", Between(1, 2), "0", false, "1", "1 to 2"},
		{"above a range", Between(1, 2), "3", false, "2", "1 to 2"},
		{"tabs for spaces", Text("32768 60999"), "32768\t60999", true, "", `"32768 60999"`},
		{"another text", Text("cubic"), "reno", false, "cubic", `"cubic"`},
		{"ports within", Reserved(PortRange{8000, 8010}), "7000-9000", true, "", "with 8000-8010 in it"},
		{"ports added", Reserved(PortRange{8000, 8010}, PortRange{80, 80}), "22,8011", false, "22,80,8000-8011", "with 80,8000-8010 in it"},
		{"ports in an empty list", Reserved(PortRange{65535, 65535}), "", false, "65535", "with 65535 in it"},
		{"zero", Want{}, "0", false, "", "invalid"},
		{"no numbers", OneOf(), "0", false, "", "invalid"},
		{"ports upside down", Reserved(PortRange{2, 1}), "0", false, "", "invalid"},
		{"range upside down", Between(2, 1), "0", false, "", "invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.want.Allows(tt.have); got != tt.right {
				t.Errorf("Allows(%q) = %v, want %v", tt.have, got, tt.right)
			}
			if c := tt.want.candidates(tt.have); !tt.right && tt.write != "" && c[0] != tt.write {
				t.Errorf("writes %v, want %s first", c, tt.write)
			}
			if got := tt.want.String(); got != tt.text {
				t.Errorf("String() = %s, want %s", got, tt.text)
			}
			if tt.want.kind != wantNothing && !tt.want.Allows(tt.want.Value()) {
				t.Errorf("Value() = %q is not allowed", tt.want.Value())
			}
		})
	}
}

func TestMerge(t *testing.T) {
	k := IPv4Conf("eth0", "rp_filter")
	for _, tt := range []struct {
		name string
		a, b Want
		want string // "" for a conflict
	}{
		{"the same", Exactly(1), Exactly(1), "1"},
		{"one within a bound", OneOf(2, 0), AtMost(2), "2 or 0"},
		{"a bound and one", AtMost(0), OneOf(2, 0), "0"},
		{"the order of the first stays", OneOf(2, 0), OneOf(0, 2), "2 or 0"},
		{"two bounds", AtLeast(0), AtMost(2), "0 to 2"},
		{"a text that is a number", Text("2"), AtMost(2), `"2"`},
		{"two numbers", Exactly(0), Exactly(1), ""},
		{"bounds that exclude", AtLeast(2), AtMost(1), ""},
		{"texts that differ", Text("0"), Text("1"), ""},
		{"a text outside", Exactly(0), Text("1"), ""},
		{"a number and ports", Exactly(0), Reserved(PortRange{1, 1}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := []Setting{{Key: k, Want: tt.a, Reason: "one says", Optional: true}, {Key: IPVS("conntrack"), Want: Exactly(1)}}
			b := []Setting{{Key: k, Want: tt.b, Reason: "two says"}}
			merged, err := Merge(a, b)
			if tt.want == "" {
				if !errors.Is(err, ErrConflict) || !contains(err.Error(), "one says", "two says", k.String()) {
					t.Errorf("got %v, error %v, want ErrConflict with both reasons", merged, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(merged) != 2 || merged[0].Key != k || merged[0].Want.String() != tt.want ||
				merged[0].Reason != "one says; two says" || merged[0].Optional {
				t.Errorf("got %+v, want %s, needed, with both reasons", merged, tt.want)
			}
		})
	}
}

func TestMergePortsOfBoth(t *testing.T) {
	k := IPv4("ip_local_reserved_ports")
	merged, err := Merge([]Setting{{Key: k, Want: Reserved(PortRange{1, 2})}}, []Setting{{Key: k, Want: Reserved(PortRange{3, 3})}})
	if err != nil || len(merged) != 1 || merged[0].Want.Value() != "1-3" {
		t.Errorf("got %v, error %v, want ports 1-3", merged, err)
	}
}

func TestMergeKnowsTheOtherNameOfIPForward(t *testing.T) {
	_, err := Merge([]Setting{
		{Key: IPv4("ip_forward"), Want: Exactly(1)},
		{Key: IPv4Conf("all", "forwarding"), Want: Exactly(0)},
	})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("got error %v, want ErrConflict: they are one variable", err)
	}
}

func TestValuesOutOfRangeAreRefused(t *testing.T) {
	for _, s := range []Setting{
		{Key: IPv4Conf("eth0", "rp_filter"), Want: Exactly(5)},
		{Key: IPv4Conf("eth0", "rp_filter"), Want: OneOf(0, 3)},
		{Key: IPv4Conf("eth0", "rp_filter"), Want: AtLeast(3)},
		{Key: IPv4Conf("eth0", "rp_filter"), Want: AtMost(-1)},
		{Key: IPv4Conf("eth0", "rp_filter"), Want: Text("strict")},
		{Key: IPv4Conf("all", "arp_ignore"), Want: Exactly(4)},
		{Key: IPv4("ip_forward"), Want: Exactly(2)},
		{Key: IPVS("conntrack"), Want: Exactly(-1)},
		{Key: NewKey("net", "ipv6", "neigh", "default", "gc_thresh3"), Want: AtLeast(1 << 31)},
		{Key: IPv4("ip_forward")},
	} {
		if err := s.Validate(); !errors.Is(err, ErrRange) {
			t.Errorf("%v: error %v, want ErrRange", s, err)
		}
	}
	for _, s := range []Setting{
		{Key: IPv4Conf("eth0", "rp_filter"), Want: AtMost(2)},
		{Key: IPv4Conf("eth0", "arp_ignore"), Want: Exactly(8)},
		{Key: IPv4("some_new_key"), Want: Exactly(5)}, // unknown keys pass
		{Key: NewKey("net", "core", "default_qdisc"), Want: Text("fq")},
	} {
		if err := s.Validate(); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestPorts(t *testing.T) {
	for list, want := range map[string]string{
		"":          "",
		"80":        "80",
		"2-5,9":     "2-5,9",
		"9,5-6,1-4": "1-6,9",
		"1-10,2-3":  "1-10",
		"65535,0":   "0,65535",
		"80-":       "error",
		"5-2":       "error",
		"70000":     "error",
		"-1":        "error",
		"1,,2":      "error",
		"1 2":       "error",
	} {
		r, err := parsePorts(list)
		if got := formatPorts(r); err != nil && want != "error" || err == nil && got != want {
			t.Errorf("%q: got %q, error %v, want %q", list, got, err, want)
		}
	}
}
