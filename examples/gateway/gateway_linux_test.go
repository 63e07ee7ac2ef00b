package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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

// onEach runs a test with each backend.
func onEach(t *testing.T, test func(r *rig, backend string)) {
	for backend, needs := range map[string][]string{
		"nftables": nil, "iptables-nft": {"iptables-nft", "ip6tables-nft"}, "iptables-legacy": {"iptables-legacy", "ip6tables-legacy"},
	} {
		t.Run(backend, func(t *testing.T) {
			if need.Emulated() && backend != "nftables" {
				t.Skip("package nat has shown that the backends are alike")
			}
			need.Program(t, needs...)
			r := newRig(t)
			for _, p := range needs { // its built-in chains stay once they are there
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

func TestAKilledGatewayIsMendedByTheNext(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344", "[fd00::100]:8080")
		r.start(append(both, "-backend", backend)...)
		c, err := r.dial(r.client, "12.0.0.1:3344")
		r.must(err)
		r.must(r.Kill())
		r.lives(c, "after SIGKILL")

		r.start("-inside", "192.168.160.0/24", "-outside-interface", "ens36", "-snat", "12.0.0.1",
			"-publish", "12.0.0.1:3344=192.168.160.100:3344/tcp") // and the backend is found
		done, _, _ := strings.Cut(r.Output(), "ready\n")
		want := "- dnat web: tcp destination [2001:db8::1]:80 to [fd00::100]:8080\n" +
			"- snat: source fd00::/64 out ens36 to 2001:db8::1\n"
		if done != want {
			r.Errorf("the next one does\n%s, want\n%s", done, want)
		}
		r.lives(c, "after another start")
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		r.stop()
		r.asBefore("after SIGKILL, another run and SIGTERM")
	})
}

// TestSignalsAtAnyTime ends gateways before and after they are ready. The next one
// always starts, and one that ends by itself leaves nothing.
func TestSignalsAtAnyTime(t *testing.T) {
	r := newRig(t)
	rounds := 40
	if need.Emulated() {
		rounds = 4
	}
	ended, killed := 0, 0
	for i := range rounds {
		r.Process = labtest.Start(t, r.gateway, "", r.program, append(both, "-run", r.run)...)
		late := time.NewTimer(time.Duration(rand.IntN(40)) * time.Millisecond)
		<-late.C // a moment that is not chosen
		signal := []os.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
		r.must(r.Signal(signal))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := r.Wait(ctx)
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil:
			ended++
			r.asBefore("after SIGTERM at some time")
		case errors.As(err, &exit) && !exit.Exited():
			killed++
		default:
			t.Errorf("%v: %v\n%s", signal, err, r.Output())
		}
	}
	t.Logf("%d were killed, %d ended", killed, ended)
	r.start(both...)
	r.stop()
	r.asBefore("in the end")
}

func TestAnotherBackendTakesOver(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		if backend == "nftables" {
			r.Skip("it is where the others come from")
		}
		r.serve(r.server, "192.168.160.100:3344")
		r.start(append(both, "-backend", "nftables")...)
		c, err := r.dial(r.client, "12.0.0.1:3344")
		r.must(err)
		r.must(r.Kill())
		if _, err := r.once(append(both, "-backend", backend, "-plan")...); err == nil || !strings.Contains(err.Error(), "removed first") {
			r.Errorf("the plan beside rules in nftables: %v", err)
		}
		r.start(append(both, "-backend", backend)...)
		if !strings.HasPrefix(r.Output(), "- dnat") || strings.Contains(r.rules(), "table inet gateway") {
			r.Errorf("the rules of nftables are not removed:\n%s\n%s", r.Output(), r.rules())
		}
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		r.lives(c, "in another backend")
		r.stop()
		r.asBefore("after two backends")
	})
}

func TestWhatOthersRemoveComesBack(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344")
		r.start(append(both, "-backend", backend)...)
		c, err := r.dial(r.client, "12.0.0.1:3344")
		r.must(err)
		if backend == "nftables" {
			need.Program(r.T, "nft")
			labtest.Run(r.T, r.gateway, "nft", "flush", "ruleset")
		} else {
			labtest.Run(r.T, r.gateway, backend, "-t", "nat", "-F")
			labtest.Run(r.T, r.gateway, backend, "-t", "nat", "-X")
		}
		r.says("put back:\n+ dnat: tcp destination 12.0.0.1:3344 to 192.168.160.100\n")
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		r.lives(c, "after a flush")

		if backend != "nftables" {
			return // the settings are not the backend's
		}
		labtest.Run(r.T, r.gateway, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
		r.until("it forwards again", func() bool {
			return labtest.Run(r.T, r.gateway, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
		})
		r.lives(c, "after a setting was changed")
		r.stop()
		r.asBefore("after repairs and SIGTERM")
	})
}

func TestKeepAndRemove(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		r.serve(r.server, "192.168.160.100:3344")
		r.start(append(both, "-backend", backend, "-keep")...)
		r.stop()
		r.asks(r.client, "12.0.0.1:3344", "12.0.0.12")
		_, err := r.once("-remove")
		r.must(err)
		r.asBefore("after -keep and -remove")
		_, err = r.once("-remove")
		r.must(err)
		r.asBefore("after -remove without anything")
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

func TestTheRulesAsIPTablesShowsThem(t *testing.T) {
	onEach(t, func(r *rig, backend string) {
		if backend == "nftables" {
			r.Skip("it shows them by nft")
		}
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
	})
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
