package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

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
	}, iptables...)
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
