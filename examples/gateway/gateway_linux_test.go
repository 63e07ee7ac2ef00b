package main

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// both are the flags of a gateway of both families.
var both = []string{
	"-inside", "192.168.160.0/24", "-inside", "fd00::/64",
	"-inside-interface", "ens33", "-outside-interface", "ens36", "-snat", "12.0.0.1", "-snat", "2001:db8::1",
	"-publish", "12.0.0.1:3344=192.168.160.100:3344/tcp", "-publish", "web=[2001:db8::1]:80=[fd00::100]:8080",
}

func program(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// needs are the programs that the backends need.
var needs = map[string][]string{
	"nftables":        nil,
	"iptables-nft":    {"iptables-nft", "ip6tables-nft"},
	"iptables-legacy": {"iptables-legacy", "ip6tables-legacy"},
}

var iptables = []string{"iptables-nft", "iptables-legacy"}

// onEach runs a test with these backends, or all.
func onEach(t *testing.T, test func(r *rig, backend string), backends ...string) {
	if len(backends) == 0 {
		backends = append([]string{"nftables"}, iptables...)
	}
	program := bin.Path(t, "gateway")
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			if need.Emulated() && backend != "nftables" {
				t.Skip("package nat has shown that the backends are alike")
			}
			need.Program(t, needs[backend]...)
			r := newRigOf(t, program)
			for _, p := range needs[backend] { // its built-in chains stay once they are there
				for _, chain := range []string{"PREROUTING", "OUTPUT", "POSTROUTING"} {
					labtest.Run(t, r.gateway, p, "-t", "nat", "-A", chain, "-j", "RETURN")
					labtest.Run(t, r.gateway, p, "-t", "nat", "-D", chain, "-j", "RETURN")
				}
			}
			r.before = r.state()
			test(r, backend)
		})
	}
}

func TestTheGatewayTranslatesBothWays(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344", "[fd00::100]:8080")
		r.serve(r.client, "12.0.0.12:80", "[2001:db8::12]:80")
		secret := [][]byte{
			netip.MustParseAddr("192.168.160.0").AsSlice()[:3], netip.MustParseAddr("fd00::").AsSlice()[:8],
		}
		leaks, err := r.cable.Capture(func(frame []byte) bool {
			return slices.ContainsFunc(secret, func(s []byte) bool { return bytes.Contains(frame, s) })
		})
		r.must(err)
		r.refused(r.client, "12.0.0.1:3344")

		r.start(append(both, "-backend", backend)...)
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		r.asks(r.client, "[2001:db8::1]:80", "2001:db8::12")
		r.asks(r.server, "12.0.0.12:80", "12.0.0.1")
		r.asks(r.other, "[2001:db8::12]:80", "2001:db8::1")
		r.refused(r.client, "12.0.0.1:3345")
		leaks.Close()
		if frames := leaks.Frames(); len(frames) > 0 {
			r.Errorf("the outside has seen an address of the inside: % x", frames[0].Data)
		}
		r.stop()
		r.asBefore("after SIGTERM")
		r.refused(r.client, "12.0.0.1:3344")
	})
}

func TestPlanChangesNothing(t *testing.T) {
	r := newRig(t)
	out, err := r.once(append(both, "-plan")...)
	r.must(err)
	for _, want := range []string{
		"+ dnat: tcp destination 12.0.0.1:3344 to 192.168.160.100\n",
		"+ dnat web: tcp destination [2001:db8::1]:80 to [fd00::100]:8080\n",
		"+ snat: source 192.168.160.0/24 out ens36 to 12.0.0.1\n",
		"sysctl -w net/ipv4/ip_forward=1\n",
		"sysctl -w net/ipv6/conf/all/forwarding=1\n",
		"sysctl -w net/ipv4/ip_local_reserved_ports=80,3344\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan lacks %q:\n%s", want, out)
		}
	}
	r.asBefore("after -plan")
	r.start(both...)
	done, _, _ := strings.Cut(r.Output(), "ready\n")
	if done != out {
		t.Errorf("the plan was\n%s, and done was\n%s", out, done)
	}
	if out, err := r.once(append(both, "-plan")...); err != nil || out != "" {
		t.Errorf("a plan beside the running gateway: %q, %v", out, err)
	}
	r.stop()
}

func TestReloadChangesOnlyTheDifference(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344", "192.168.160.100:81")
		r.serve(r.other, "192.168.160.101:81", "[fd00::101]:81")
		r.serve(r.client, "12.0.0.12:80")
		stays := "dnat a: tcp destination 12.0.0.1:81 to 192.168.160.100:81"
		r.write("# two ports", stays, "", "dnat b: tcp destination 12.0.0.1:82 to 192.168.160.101:81")
		r.start("-inside", "192.168.160.0/24", "-outside-interface", "ens36", "-masquerade",
			"-publish", "12.0.0.1:3344=192.168.160.100", "-rules", r.file, "-backend", backend)
		var conns []*conn
		for _, addr := range []string{"12.0.0.1:3344", "12.0.0.1:81"} {
			c, err := r.dial(r.client, addr)
			r.must(err)
			conns = append(conns, c)
		}
		c, err := r.dial(r.server, "12.0.0.12:80")
		r.must(err)
		conns = append(conns, c)

		if said := r.hup("reloaded\n"); said != "reloaded\n" {
			r.Errorf("the same file: %s", said)
		}
		r.write(stays, "dnat c: tcp destination [2001:db8::1]:83 to [fd00::101]:81")
		said := r.hup("reloaded\n")
		want := "- dnat b: tcp destination 12.0.0.1:82 to 192.168.160.101:81\n" +
			"+ dnat c: tcp destination [2001:db8::1]:83 to [fd00::101]:81\n" +
			"sysctl -w net/ipv6/conf/all/forwarding=1\n" +
			"sysctl -w net/ipv4/ip_local_reserved_ports=81-83,3344\nreloaded\n"
		if said != want {
			r.Errorf("another file:\n%s, want\n%s", said, want)
		}
		r.asks(r.client, "[2001:db8::1]:83", "2001:db8::12")
		r.refused(r.client, "12.0.0.1:82")

		table := r.rules()
		r.write(stays, "dnat c: tpc destination [2001:db8::1]:83 to [fd00::101]:81")
		if said := r.hup("nothing is changed"); !strings.Contains(said, r.file+":2: ") {
			r.Errorf("a wrong file: %s", said)
		}
		if now := r.rules(); now != table && backend == "nftables" { // iptables shows counters
			r.Errorf("a wrong file has changed the rules:\n%s", difference(table, now))
		}
		for _, c := range conns {
			r.lives(c, "after reloads")
		}
		r.stop()
		r.asBefore("after reloads and SIGTERM")
	})
}

func TestMachinesInsideReachWhatIsPublished(t *testing.T) {
	r := newRig(t)
	r.serve(r.server, "192.168.160.100:9000", "192.168.160.100:9009")
	r.serve(r.client, "12.0.0.12:80")
	r.start("-inside", "192.168.160.0/24", "-outside-interface", "ens36", "-masquerade", "-random", "-hairpin",
		"-publish", "ftp=12.0.0.1:8000-8009=192.168.160.100:9000-9009/tcp")
	r.asks(r.client, "12.0.0.1:8000", "12.0.0.12")
	r.asks(r.client, "12.0.0.1:8009", "12.0.0.12")
	r.asks(r.other, "12.0.0.1:8009", "192.168.160.1") // else the answer would not come by the gateway
	r.asks(r.server, "12.0.0.1:8000", "192.168.160.1")
	r.asks(r.server, "12.0.0.12:80", "12.0.0.1")
	r.stop()
	r.asBefore("after hairpins")
}

func TestAnyAddressOfTheOutsideIsPublished(t *testing.T) {
	r := newRig(t)
	r.serve(r.server, "192.168.160.100:3344")
	r.serve(r.client, "12.0.0.12:3344")
	r.start("-inside", "192.168.160.0/24", "-outside-interface", "ens36", "-masquerade", "-publish", "*:3344=192.168.160.100:3344")
	labtest.Run(t, r.gateway, "ip", "address", "add", "12.0.0.7/24", "dev", "ens36")
	r.asks(r.client, "12.0.0.7:3344", "12.0.0.12")
	r.asks(r.other, "12.0.0.12:3344", "12.0.0.1") // not led to the server

	// The interface goes, as ppp0 may, and all else is kept.
	labtest.Run(t, r.gateway, "ip", "link", "delete", "ens36")
	labtest.Run(t, r.gateway, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
	r.until("it forwards again", func() bool {
		return labtest.Run(t, r.gateway, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
	})
	if strings.Contains(r.Output(), "gateway: nat") || strings.Contains(r.Output(), "gateway: sysctl") {
		t.Errorf("it complains:\n%s", r.Output())
	}
	r.stop()
}

func TestOneGatewayAtATime(t *testing.T) {
	r := newRig(t)
	r.start(both...)
	if _, err := r.once(both...); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("a second one: %v", err)
	}
	table := r.rules()
	if _, err := r.once("-remove"); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("-remove beside a running one: %v", err)
	}
	if now := r.rules(); now != table {
		t.Errorf("the second one has changed the rules:\n%s", difference(table, now))
	}
	r.stop()
	r.asBefore("after both")
}

func TestWhatItCounts(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344", "[fd00::100]:8080")
		if _, err := r.once(append(both, "-metrics", "192.0.2.1:80")...); err == nil || !strings.Contains(err.Error(), "-metrics: listen tcp 192.0.2.1:80") {
			r.Errorf("an address that is not here: %v", err)
		}
		r.asBefore("without metrics")
		r.start(append(both, "-backend", backend, "-metrics", "127.0.0.1:0")...)
		for range 3 {
			r.asks(r.client, "[2001:db8::1]:80", "2001:db8::12")
		}
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		_, rest, _ := strings.Cut(r.Output(), "metrics ")
		url, _, _ := strings.Cut(rest, "\n")
		client := http.Client{Transport: &http.Transport{DialContext: r.gateway.Dial, DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := client.Get(url)
		r.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		r.must(err)
		for _, want := range []string{
			`lvskit_nat_backend_info{backend="` + backend + `",table="gateway"} 1`,
			`lvskit_nat_rules{action="dnat",table="gateway"} 2`,
			`lvskit_nat_rule_packets_total{action="dnat",rule="web",table="gateway"} 3`,
			`lvskit_nat_rule_packets_total{action="dnat",rule="",table="gateway"} 1`,
		} {
			if !strings.Contains(string(text), want+"\n") {
				r.Errorf("the metrics lack %s:\n%s", want, text)
			}
		}
		r.stop()
		r.asBefore("after metrics")
	})
}

func TestWithoutRightsItSaysWhatToDo(t *testing.T) {
	need.Program(t, "setpriv")
	r := newRig(t)
	args := append([]string{"--bounding-set=-all", "--inh-caps=-all", r.program, "-run", r.run}, both...)
	_, err := r.gateway.Run(t.Context(), "setpriv", args...)
	if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without capabilities: %v", err)
	}
	r.asBefore("without capabilities")
}

func TestOneCapabilityIsEnough(t *testing.T) {
	need.Program(t, "setpriv")
	r := newRig(t)
	r.serve(r.server, "192.168.160.100:3344")
	args := append([]string{"--bounding-set=-all,+net_admin", "--inh-caps=-all", r.program, "-run", r.run}, both...)
	r.Process = labtest.Start(t, r.gateway, "ready\n", "setpriv", args...)
	r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
	r.stop()
	if strings.Contains(r.Output(), "gateway: ") {
		t.Errorf("it complains:\n%s", r.Output())
	}
	r.asBefore("with CAP_NET_ADMIN alone")
}

func TestTheRulesAsIPTablesShowsThem(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.start("-inside", "192.168.160.0/24", "-outside-interface", "ens36", "-snat", "12.0.0.1",
			"-publish", "12.0.0.1:3344=192.168.160.100:3344/tcp", "-backend", backend)
		shown := labtest.Run(r.T, r.gateway, backend, "-t", "nat", "-nL")
		for _, want := range []string{
			"DNAT +(tcp|6) +-- +0.0.0.0/0 +12.0.0.1 +tcp dpt:3344 to:192.168.160.100",
			"SNAT +(all|0) +-- +192.168.160.0/24 +0.0.0.0/0 +to:12.0.0.1",
		} {
			if !regexp.MustCompile("(?m)^" + want).MatchString(shown) {
				r.Errorf("it lacks %q:\n%s", want, shown)
			}
		}
		r.Log(shown)
	}, iptables...)
}

func TestWhatLooksLikeAMistakeIsSaid(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ name, args, want string }{
		{"an interface that is not there", "-inside 192.168.160.0/24 -masquerade -outside-interface ens63", "-outside-interface ens63: no such interface: there are lo, ens33, ens36"},
		{"a file that is not there", "-rules /nowhere", "/nowhere: no such file"},
		{"a folder that cannot be", "-publish 12.0.0.1:1=192.168.160.100 -run /dev/null", "/dev/null"},
	} {
		_, err := r.gateway.Run(t.Context(), r.program, append([]string{"-run", r.run}, strings.Fields(tt.args)...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		r.asBefore("after " + tt.name)
	}
	r.start("-inside", "192.168.160.0/24", "-snat", "12.0.0.10", "-outside-interface", "ens36")
	r.says("warning: 12.0.0.10 is no address of this machine")
	r.stop()
}
