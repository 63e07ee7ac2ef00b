package sysctl

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	input := strings.Join([]string{
		"# a comment", "; another", "net.ipv4.ip_forward = 1", "",
		"net/ipv4/conf/eth0.100/rp_filter=2", "  net.ipv4.conf.eth0/100.arp_ignore\t=  1  ",
		"-net/ipv4/vs/conntrack = 1\r", "# far away", "", "net/ipv4/ip_local_port_range = 1024\t2000",
		"net.ipv4.conf.*.rp_filter = 2", "-net.ipv4.conf.lo.rp_filter", "net/ipv4/ip_local_reserved_ports =", "kernel.core_pattern = |/bin/x a=b # c",
	}, "\n")
	got, err := Parse(strings.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{Number: 3, Key: IPv4("ip_forward"), Value: "1", Comment: "a comment\nanother"},
		{Number: 5, Key: IPv4Conf("eth0.100", "rp_filter"), Value: "2"},
		{Number: 6, Key: IPv4Conf("eth0.100", "arp_ignore"), Value: "1"},
		{Number: 7, Key: IPVS("conntrack"), Value: "1", IgnoreErrors: true},
		{Number: 10, Key: IPv4("ip_local_port_range"), Value: "1024\t2000"},
		{Number: 11, Pattern: "net/ipv4/conf/*/rp_filter", Value: "2"},
		{Number: 12, Key: IPv4Conf("lo", "rp_filter"), Exclude: true},
		{Number: 13, Key: IPv4("ip_local_reserved_ports")},
		{Number: 14, Key: NewKey("kernel", "core_pattern"), Value: "|/bin/x a=b # c"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Key{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"no value":           "net/ipv4/ip_forward",
		"no key":             "= 1",
		"only a minus":       "-",
		"a way out":          "net/../../etc/passwd = 1",
		"a way out by dots":  "net./../etc = 1",
		"absolute":           "/proc/sys/net/ipv4/ip_forward = 1",
		"one word":           "forward = 1",
		"a NUL":              "net/ipv4/ip_forward = 1\x00",
		"an escape sequence": "net/ipv4/ip_forward = \x1b[2J",
		"two keys":           "net/ipv4/a net/ipv4/b = 1",
		"an open bracket":    "net/ipv4/conf/[a/rp_filter = 1",
		"endless":            "net/ipv4/x = " + strings.Repeat("1", maxLine),
		"not UTF-8":          "net/ipv4/\xff = 1",
	} {
		t.Run(name, func(t *testing.T) {
			lines, err := Parse(strings.NewReader("# fine\nnet/ipv4/ip_forward = 1\n" + line + "\n"))
			if !errors.Is(err, fs.ErrInvalid) || !contains(err.Error(), "line 3") {
				t.Errorf("got %v, error %v, want fs.ErrInvalid at line 3", lines, err)
			}
		})
	}
}

func TestFormat(t *testing.T) {
	got, err := Format([]Setting{
		{Key: IPv4Conf("eth0.100", "rp_filter"), Want: OneOf(2, 0), Reason: "two\nlines"},
		{Key: IPv4("ip_forward"), Want: Exactly(1), Reason: "first"},
		{Key: NewKey("net", "ipv4", "neigh", "default", "gc_thresh1"), Want: AtLeast(4096), Optional: true},
		{Key: IPv4("ip_local_reserved_ports"), Want: Reserved(PortRange{80, 90})},
	})
	want := `# first
net/ipv4/ip_forward = 1

# two
# lines
net/ipv4/conf/eth0.100/rp_filter = 2

-net/ipv4/neigh/default/gc_thresh1 = 4096

net/ipv4/ip_local_reserved_ports = 80-90
`
	if string(got) != want || err != nil {
		t.Errorf("got error %v and\n%s\nwant\n%s", err, got, want)
	}
	for _, k := range []Key{IPv4Conf("eth*", "rp_filter"), IPv4Conf("a=b", "rp_filter"), NewKey("#net", "x"), NewKey("-net", "x")} {
		if _, err := Format([]Setting{{Key: k, Want: AtMost(2)}}); !errors.Is(err, ErrKey) {
			t.Errorf("%v: error %v, want ErrKey", k, err)
		}
	}
}

// What a line says is the same after it was written and read again, and no
// key leaves /proc/sys.
func FuzzParse(f *testing.F) {
	f.Add("# why\nnet.ipv4.conf.eth0/100.rp_filter = 2\r\n\n-net/ipv4/vs/x=\n; c\n-a.b\nnet.*.x = [1]\n")
	f.Add("a.b = \v1\n#\n#  x \n\x1b")
	f.Fuzz(func(t *testing.T, input string) {
		lines, err := Parse(strings.NewReader(input))
		if err != nil {
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "line ") {
				t.Fatalf("error %v", err)
			}
			return
		}
		var again strings.Builder
		for _, l := range lines {
			path := l.Key.path + l.Pattern
			if strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../") {
				t.Fatalf("%q leaves its folder", path)
			}
			again.WriteString(l.String() + "\n\n")
		}
		back, err := Parse(strings.NewReader(again.String()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, again.String())
		}
		for i := range lines {
			lines[i].Number = 0
		}
		for i := range back {
			back[i].Number = 0
		}
		if diff := cmp.Diff(lines, back, cmp.AllowUnexported(Key{})); diff != "" {
			t.Fatalf("%s\nafter\n%s", diff, again.String())
		}
	})
}
