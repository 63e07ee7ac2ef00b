package ipvs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func parse(t *testing.T, rules string) []Service {
	t.Helper()
	services, err := Parse(strings.NewReader(rules))
	if err != nil {
		t.Fatal(err)
	}
	return services
}

func format(t *testing.T, services []Service) string {
	t.Helper()
	var b strings.Builder
	if err := Format(&b, services); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestParse reads rules and writes them again: the second column is the first as
// ipvsadm saves it, with thresholds.
func TestParse(t *testing.T) {
	for _, test := range []struct{ name, rules, saved string }{
		{"nothing", "", ""},
		{"blank lines and comments", "\n \t\r\n# -A -t 192.0.2.1:80\n  #\n", ""},
		{"a comment after a rule", "-A -f 1 # the web", "-A -f 1 -s wlc\n"},
		{"a service with the defaults", "-A -t 192.0.2.1:80", "-A -t 192.0.2.1:80 -s wlc\n"},
		{"a real server with the defaults", "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1", "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n"},
		{"a leading name of the program", "ipvsadm -A -f 1", "-A -f 1 -s wlc\n"},
		{"long options", "--add-service --tcp-service 192.0.2.1:80 --scheduler=rr\n--add-server --tcp-service=192.0.2.1:80 --real-server 10.0.0.1:8080 --masquerading --weight 3", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n"},
		{"clustered options", "-At 192.0.2.1:80 -srr\n-amt192.0.2.1:80 -r=10.0.0.1 -w=3", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n"},
		{"UDP and SCTP", "-A -u 192.0.2.1:53 -o\n-A --sctp-service 192.0.2.1:9", "-A -u 192.0.2.1:53 -s wlc -o\n-A --sctp-service 192.0.2.1:9 -s wlc\n"},
		{"IPv6", "-A -t [2001:db8::]:80 -s rr\n-a -t [2001:db8::]:80 -r [fd00::5]:80 -g -w 1", "-A -t [2001:db8::]:80 -s rr\n-a -t [2001:db8::]:80 -r [fd00::5]:80 -g -w 1\n"},
		{"IPv6 without a port", "-A -t 2001:db8::1 -p\n-a -t 2001:db8::1 -r fd00::5", "-A -t [2001:db8::1]:0 -s wlc -p 300\n-a -t [2001:db8::1]:0 -r [fd00::5]:0 -g -w 1\n"},
		{"IPv6 in capitals and in full", "-A -t [2001:DB8:0:0::1]:80", "-A -t [2001:db8::1]:80 -s wlc\n"},
		{"a firewall mark", "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1 -m", "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1:0 -m -w 1\n"},
		{"an IPv6 firewall mark", "-A -f 7 -6 -s rr -p 60 -M 64\n-a -f 7 -6 -r [fd00::1]:0 -g -w 1", "-A -f 7 -6 -s rr -p 60 -M 64\n-a -f 7 -6 -r [fd00::1]:0 -g -w 1\n"},
		{"a high firewall mark as ipvsadm prints it", "-A -f -1 -s rr\n-a -f -1 -r 10.0.0.1:0 -g -w 1", "-A -f 4294967295 -s rr\n-a -f 4294967295 -r 10.0.0.1:0 -g -w 1\n"},
		{"one mark in both families", "-A -f 7\n-A -f 7 -6", "-A -f 7 -s wlc\n-A -f 7 -6 -s wlc\n"},
		{"persistence without a time", "-A -t 192.0.2.1:80 -p -s rr", "-A -t 192.0.2.1:80 -s rr -p 300\n"},
		{"persistence with a mask", "-A -t 192.0.2.1:80 -p 60 -M 255.255.255.0", "-A -t 192.0.2.1:80 -s wlc -p 60 -M 255.255.255.0\n"},
		{"a mask before the time", "-A -t 192.0.2.1:80 -M 255.255.255.0 -p 60", "-A -t 192.0.2.1:80 -s wlc -p 60 -M 255.255.255.0\n"},
		{"a mask of one address", "-A -t 192.0.2.1:80 -p 60 -M 255.255.255.255", "-A -t 192.0.2.1:80 -s wlc -p 60\n"},
		{"a mask of all addresses", "-A -t 192.0.2.1:80 -p 60 -M 0.0.0.0", "-A -t 192.0.2.1:80 -s wlc -p 60 -M 0.0.0.0\n"},
		{"an engine", "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip -o", "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip -o\n"},
		{"flags of sh", "-A -t 192.0.2.1:80 -s sh -b sh-port,sh-fallback", "-A -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port\n"},
		{"flags of sh by number", "-A -t 192.0.2.1:80 -s sh -b flag-1,flag-3", "-A -t 192.0.2.1:80 -s sh -b sh-fallback,flag-3\n"},
		{"flags of mh", "-A -t 192.0.2.1:80 -b mh-fallback -s mh", "-A -t 192.0.2.1:80 -s mh -b mh-fallback\n"},
		{"flags of others", "-A -t 192.0.2.1:80 -s rr -b flag-1,flag-2,flag-3", "-A -t 192.0.2.1:80 -s rr -b flag-1,flag-2,flag-3\n"},
		{"flags that ipvsadm fails to name", "-A -t 192.0.2.1:80 -s sh -b ", "-A -t 192.0.2.1:80 -s sh\n"},
		{"thresholds", "-A -f 1\n-a -f 1 -r 10.0.0.1 -y 5 -x 2147483647", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -g -w 1 -x 2147483647 -y 5\n"},
		{"weights beyond 16 bits", "-A -f 1\n-a -f 1 -r 10.0.0.1 -w 65537", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -g -w 65537\n"},
		{"tunnels", "-A -f 1\n-a -f 1 -r 10.0.0.1 -i\n-a -f 1 -r 10.0.0.2 -i --tun-type gue --tun-port 6080\n-a -f 1 -r 10.0.0.3 -i --tun-type gue --tun-port 6080 --tun-remcsum\n-a -f 1 -r 10.0.0.4 -i --tun-type gre --tun-csum\n-a -f 1 -r fd00::1 -i", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -i -w 1 --tun-type ipip\n-a -f 1 -r 10.0.0.2:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum\n-a -f 1 -r 10.0.0.3:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum\n-a -f 1 -r 10.0.0.4:0 -i -w 1 --tun-type gre --tun-csum\n-a -f 1 -r [fd00::1]:0 -i -w 1 --tun-type ipip\n"},
		{"an edited service keeps its real servers", "-A -f 1 -p 5\n-a -f 1 -r 10.0.0.1\n-E -f 1 -s rr", "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1:0 -g -w 1\n"},
		{"an edited real server is replaced", "-A -f 1\n-a -f 1 -r 10.0.0.1 -m -w 5 -x 9\n-e -f 1 -r 10.0.0.1 -w 2", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -g -w 2\n"},
		{"deleted and added again", "-A -f 1\n-a -f 1 -r 10.0.0.1\n-a -f 1 -r 10.0.0.2\n-d -f 1 -r 10.0.0.1\n-a -f 1 -r 10.0.0.1 -w 9\n-A -f 2\n-a -f 2 -r 10.0.0.1\n-D -f 2\n-A -f 2", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.2:0 -g -w 1\n-a -f 1 -r 10.0.0.1:0 -g -w 9\n-A -f 2 -s wlc\n"},
		{"cleared", "-A -f 1\n-C\n-A -f 1 -s rr", "-A -f 1 -s rr\n"},
		{"lines of Windows", "-A -f 1\r\n-a -f 1 -r 10.0.0.1\r\n", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -g -w 1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			services := parse(t, test.rules)
			if got := format(t, services); got != test.saved {
				t.Errorf("the rules are\n%swant\n%s", got, test.saved)
			}
			if again := parse(t, test.saved); !reflect.DeepEqual(again, services) {
				t.Errorf("read again they are %+v, want %+v", again, services)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct {
		name, rule string // the rule follows a service of mark 1
		text       string
	}{
		{"a host name", "-A -t www.example.com:80", "rules must be numeric, as ipvsadm -S -n writes them"},
		{"a host name in brackets", "-A -t [localhost]:80", "rules must be numeric"},
		{"a port name", "-A -t 192.0.2.1:http", `"http" is no port: rules must be numeric`},
		{"a short address", "-A -t 10.1:80", "rules must be numeric"},
		{"an address out of range", "-A -t 256.0.0.1:80", "rules must be numeric"},
		{"a port out of range", "-A -t 192.0.2.1:65536", "is no port"},
		{"an empty port", "-A -t 192.0.2.1:", "is no port"},
		{"a signed port", "-A -t 192.0.2.1:+80", "is no port"},
		{"an open bracket", "-A -t [2001:db8::1:80", "write [address]:port"},
		{"text after a bracket", "-A -t [2001:db8::1]80", "write [address]:port"},
		{"IPv4 in brackets", "-A -t [192.0.2.1]:80", "brackets are for IPv6"},
		{"a mapped address", "-A -t [::ffff:192.0.2.1]:80", "write 192.0.2.1"},
		{"a zone", "-A -t [fe80::1%eth0]:80", `zone "eth0"`},
		{"no service", "-A -s rr", "0 services: name one"},
		{"two services", "-A -t 192.0.2.1:80 -u 192.0.2.1:80", "2 services: name one"},
		{"two services of a kind", "-A -t 192.0.2.1:80 -t 192.0.2.2:80", "option -t is there twice"},
		{"mark 0", "-A -f 0", "use a number from 1 to 4294967295"},
		{"mark of 33 bits", "-A -f 4294967296", "use a number from 1 to 4294967295"},
		{"a mark with a mask", "-A -f 1/3", "firewall mark"},
		{"family of an address", "-A -t 192.0.2.1:80 -6", "option -6 is for a firewall mark"},
		{"a service twice", "-A -f 1", "the service is there twice"},
		{"a real server of no service", "-a -f 2 -r 10.0.0.1", "no service FWM 2: add it by -A in a line above"},
		{"an edit of no service", "-E -f 2", "no service FWM 2"},
		{"a deletion of no service", "-D -f 2", "no service FWM 2"},
		{"no real server", "-a -f 1", "add -r"},
		{"an edit of no real server", "-e -f 1 -r 10.0.0.9", "no real server 10.0.0.9:0"},
		{"a deletion of no real server", "-d -f 1 -r 10.0.0.9", "no real server 10.0.0.9:0"},
		{"a real server twice", "-a -f 1 -r 10.0.0.1", "this real server twice"},
		{"no command", "-f 1 -s rr", "begin the line with -A or -a"},
		{"two commands", "-A -a -f 1", "two commands, -A and -a"},
		{"a listing", "-L -n", `option "-L" makes no rule`},
		{"timeouts", "--set 900 120 300", `option "--set" makes no rule`},
		{"a daemon", "--start-daemon master", `option "--start-daemon" makes no rule`},
		{"an unknown option", "-A -f 2 -q", `option "-q" makes no rule`},
		{"a lone dash", "-A -f 2 -", `unexpected word "-"`},
		{"a lone word", "-A -f 2 rr", `unexpected word "rr"`},
		{"a missing value", "-A -f", "option -f needs a value"},
		{"an option of real servers", "-A -f 2 -w 1", "option -w does not go with -A"},
		{"an option of services", "-a -f 1 -r 10.0.0.2 -s rr", "option -s does not go with -a"},
		{"a deletion with a weight", "-d -f 1 -r 10.0.0.1 -w 1", "option -w does not go with -d"},
		{"a value for a switch", "-A -f 2 --ops=yes", "takes no value"},
		{"two ways of forwarding", "-a -f 1 -r 10.0.0.2 -g -m", "more than one of -g, -i and -m"},
		{"a negative weight", "-a -f 1 -r 10.0.0.2 -w -1", "weight \"-1\": use a number from 0"},
		{"a weight of 32 bits", "-a -f 1 -r 10.0.0.2 -w 2147483648", "from 0 to 2147483647"},
		{"a threshold of 32 bits", "-a -f 1 -r 10.0.0.2 -x 2147483648", "from 0 to 2147483647"},
		{"thresholds that cross", "-a -f 1 -r 10.0.0.2 -x 1 -y 2", "lower it, or raise Upper"},
		{"no time", "-A -f 2 -p 0", "persistence timeout"},
		{"too long a time", "-A -f 2 -p 2678401", "persistence timeout"},
		{"a mask with holes", "-A -f 2 -p 1 -M 255.0.255.0", "netmask 255.0.255.0 has holes"},
		{"a mask by length", "-A -f 2 -p 1 -M 24", "write it as 255.255.255.0"},
		{"an IPv6 mask of IPv4", "-A -f 2 -p 1 -M ffff::", "write it as 255.255.255.0"},
		{"a dotted mask of IPv6", "-A -f 2 -6 -p 1 -M 255.255.255.0", "from 1 to 128"},
		{"a mask without persistence", "-A -f 2 -M 255.255.255.0", "Persistence.Mask without persistence"},
		{"every port without persistence", "-A -t 192.0.2.1:0", "needs persistence"},
		{"an unknown flag", "-A -f 2 -s rr -b rr-port", `unknown scheduler flag "rr-port"`},
		{"a flag of another scheduler", "-A -f 2 -s sh -b mh-port", "scheduler flag mh-port is for mh, this is sh"},
		{"an empty scheduler", "-A -f 2 --scheduler=", "-s needs a value"},
		{"an unknown tunnel", "-a -f 1 -r 10.0.0.2 -i --tun-type vxlan", "use ipip, gue or gre"},
		{"a tunnel without a tunnel", "-a -f 1 -r 10.0.0.2 --tun-type ipip", "option --tun-type needs -i"},
		{"GUE without a port", "-a -f 1 -r 10.0.0.2 -i --tun-type gue", "needs a port"},
		{"two checksums", "-a -f 1 -r 10.0.0.2 -i --tun-type gue --tun-port 1 --tun-nocsum --tun-csum", "use one"},
		{"another port by direct routing", "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:81 -g", "or ForwardMasq"},
		{"a line without end", "-A -f 2 #" + strings.Repeat("x", maxLine), "longer than 4096 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			services, err := Parse(strings.NewReader("-A -f 1\n-a -f 1 -r 10.0.0.1\n" + test.rule + "\n"))
			var op *OpError
			if !errors.As(err, &op) || op.Op != "parse" || !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("the error is %v, want an OpError that matches fs.ErrInvalid", err)
			}
			line := "line 3"
			if strings.Contains(test.rule, "\n") {
				line = "line 4"
			}
			if op.Object != line || !strings.Contains(err.Error(), test.text) {
				t.Errorf("the error is %q, want %s and %q in it", err, line, test.text)
			}
			if services != nil {
				t.Errorf("services all the same: %v", services)
			}
		})
	}
}

func TestParsePassesErrorsOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	_, err := Parse(iotest.ErrReader(broken))
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

func TestFormatWritesNothingOfTheInvalid(t *testing.T) {
	var b strings.Builder
	err := Format(&b, []Service{{ID: ServiceID{FWMark: 1}}, {ID: ServiceID{FWMark: 1, Protocol: TCP}}})
	if !errors.Is(err, fs.ErrInvalid) || b.Len() != 0 {
		t.Errorf("the error is %v, and %q is written", err, b.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fs.ErrPermission }

func TestFormatPassesErrorsOfTheWriter(t *testing.T) {
	if err := Format(brokenWriter{}, []Service{{ID: ServiceID{FWMark: 1}}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the error is %v", err)
	}
}

func TestFormatAndParseAreReverse(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 4))
		services := randomTable(r, 6)
		text := format(t, services)
		got := parse(t, text)
		for i := range services {
			services[i] = services[i].Normal()
		}
		if len(got) == 0 && len(services) == 0 {
			continue
		}
		if !reflect.DeepEqual(got, services) {
			t.Fatalf("seed %d: read back\n%+v\nwant\n%+v\nfrom\n%s", seed, got, services, text)
		}
	}
}

func TestChangeString(t *testing.T) {
	for _, test := range []struct {
		change Change
		text   string
	}{
		{Change{Op: AddDestination, Service: validService(func(*Service) {}), Destination: Destination{Addr: validService(func(*Service) {}).Destinations[0].Addr, Weight: 1}}, "ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1"},
		{Change{Op: UpdateDestination, Service: Service{ID: ServiceID{FWMark: 1}}, Destination: Destination{Addr: netip.MustParseAddrPort("[fd00::1]:0"), Forward: ForwardLocal}}, "ipvsadm -e -f 1 -r [fd00::1]:0 -g -w 0"},
		{Change{Op: AddService, Service: Service{ID: ServiceID{FWMark: 1}}}, "ipvsadm -A -f 1 -s wlc"},
		{Change{Op: UpdateService, Service: Service{ID: ServiceID{FWMark: 1}, Persistence: Persistence{Timeout: 1e9, Mask: 99}}}, "ipvsadm -E -f 1 -s wlc -p 1 -M 255.255.255.255"},
		{Change{Op: RemoveService, Service: validService(v6)}, "ipvsadm -D -t [fd00::5]:80"},
		{Change{}, "ChangeOp(0)"},
	} {
		if got := test.change.String(); got != test.text {
			t.Errorf("a change reads %q, want %q", got, test.text)
		}
	}
}
