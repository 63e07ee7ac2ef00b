package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noticed is how long it takes at most until a dead process is noticed: an
// interval and its jitter.
const noticed = check + check/10

// TestKilledProxyMovesTheAddress kills nginx where the address is. When it is back,
// the address returns or stays.
func TestKilledProxyMovesTheAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		args    []string
		bound   time.Duration
		returns bool
	}{
		"fault, returns": {nil, noticed + skew(low), true},
		"fault, stays":   {[]string{"-nopreempt"}, noticed + skew(low), false},
		// b lets three advertisements of the lower priority pass.
		"weight, returns": {[]string{"-weight", "-20"}, noticed + 3*advert() + skew(low), true},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "fault, returns" {
				heavy(t)
			}
			p := newPair(t)
			p.both(t, tt.args...)
			p.moves(t, p.a, tt.bound, "nginx of a is killed", func() { p.a.signalProxy(t, syscall.SIGKILL) })
			p.serves(t, p.b, "nginx of a is dead")
			p.a.says(t, "process: down: ")
			p.a.proxy(t)
			if tt.returns {
				p.serves(t, p.a, "its nginx is back")
				return
			}
			await(t, "a is well again", 10*time.Second, func() bool {
				return strings.Contains(p.a.program.Output(), "fault -> backup (recovered)")
			})
			p.stays(t, p.b, 4*advert())
			p.moves(t, p.b, noticed+skew(high), "nginx of b is killed", func() { p.b.signalProxy(t, syscall.SIGKILL) })
		})
	}
}

// TestProxyThatHangs stops nginx: its process is there, and only the answer is
// missing.
func TestProxyThatHangs(t *testing.T) {
	heavy(t)
	p := newPair(t)
	p.both(t)
	timeout := 500 * time.Millisecond * patience()
	bound := 2*(check+check/10) + 2*timeout + skew(low)
	p.moves(t, p.a, bound, "nginx of a is stopped", func() { p.a.signalProxy(t, syscall.SIGSTOP) })
	p.a.says(t, "http: down: ")
	if out := p.a.program.Output(); strings.Contains(out, "process: down: ") {
		// It is down before the first result of all checks, without a line.
		t.Errorf("a stopped process does not run any more:\n%s", out)
	}
	p.a.signalProxy(t, syscall.SIGCONT)
	p.serves(t, p.a, "its nginx goes on")
}

// TestBothProxiesDead: with faults nobody has the address, with weights the
// machine with the higher priority. Whose nginx returns first serves.
func TestBothProxiesDead(t *testing.T) {
	heavy(t)
	t.Run("fault", func(t *testing.T) {
		p := newPair(t)
		p.both(t)
		p.a.signalProxy(t, syscall.SIGKILL)
		p.b.signalProxy(t, syscall.SIGKILL)
		await(t, "nobody has the address", 10*time.Second, func() bool { return !p.a.holds(t) && !p.b.holds(t) })
		if name, err := p.ask(); err == nil {
			t.Errorf("%q answers though both proxies are dead", name)
		}
		p.b.proxy(t)
		p.serves(t, p.b, "its nginx is back first")
	})
	t.Run("weight", func(t *testing.T) {
		p := newPair(t)
		p.both(t, "-weight", "-20")
		p.b.signalProxy(t, syscall.SIGKILL)
		p.b.says(t, "process: down: ")
		p.a.signalProxy(t, syscall.SIGKILL)
		p.a.says(t, "process: down: ")
		p.a.says(t, "http: down: ")
		p.b.says(t, "http: down: ")
		await(t, "a has the address, as it has the higher priority", 10*time.Second, func() bool { return p.a.holds(t) && !p.b.holds(t) })
		if name, err := p.ask(); err == nil {
			t.Errorf("%q answers though both proxies are dead", name)
		}
		p.b.proxy(t)
		p.serves(t, p.b, "its nginx is back first")
	})
}

// TestDownFile takes a machine out by a file, and back. By weight it serves until
// the other one has taken the address.
func TestDownFile(t *testing.T) {
	heavy(t)
	for name, tt := range map[string]struct {
		args  []string
		bound time.Duration
		leave string
	}{
		"fault":  {nil, noticed + skew(low), "active -> fault (tracker)"},
		"weight": {[]string{"-weight", "-20"}, noticed + 3*advert() + skew(low), "active -> backup (higher priority)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.both(t, tt.args...)
			p.moves(t, p.a, tt.bound, "a is taken out", func() {
				if err := os.WriteFile(p.a.downFile(), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			})
			p.a.says(t, "down: down: ")
			p.a.says(t, tt.leave)
			if err := os.Remove(p.a.downFile()); err != nil {
				t.Fatal(err)
			}
			p.serves(t, p.a, "it may serve again")
		})
	}
}

// TestMachineWithoutProxyDoesNotTakeTheAddress starts the program where nginx does not run,
// before the other machine is there.
func TestMachineWithoutProxyDoesNotTakeTheAddress(t *testing.T) {
	heavy(t)
	p := newPair(t)
	p.a.start(t, p.program)
	p.a.says(t, "process: down: ")
	p.a.says(t, "http: down: ")
	p.b.proxy(t)
	p.b.start(t, p.program)
	p.serves(t, p.b, "a has no nginx")
	if out := p.a.program.Output(); strings.Contains(out, "-> active") {
		t.Errorf("a had the address:\n%s", out)
	}
	p.a.proxy(t)
	p.serves(t, p.a, "it has one now")
}

// TestEndLeavesNothing ends the program, and looks at what it tells.
func TestEndLeavesNothing(t *testing.T) {
	p := newPair(t)
	p.both(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second*patience())
	defer cancel()
	metrics, err := get(ctx, p.a.host, "http://127.0.0.1:9100/metrics")
	for _, want := range []string{
		`lvskit_vrrp_state{family="IPv4",interface="eth0",router="eth0/51",vrid="51"} 2`,
		`lvskit_health_check_state{check="process"} 1`, `lvskit_health_check_state{check="http"} 1`, `lvskit_health_check_state{check="down"} 1`,
	} {
		if err != nil || !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s (%v):\n%s", want, err, metrics)
		}
	}
	p.moves(t, p.a, skew(low), "the program of a ends", func() {
		if err := p.a.program.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	})
	if err := p.a.program.Wait(ctx); err != nil {
		t.Errorf("it ends with %v:\n%s", err, p.a.program.Output())
	}
	if p.a.holds(t) {
		t.Error("it has left the address")
	}
	out := p.a.program.Output()
	for _, want := range []string{"process: up\n", "http: up\n", "down: up\n", "eth0/51: backup -> active (timeout)\n", "eth0/51: active -> initialize (stop)\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
