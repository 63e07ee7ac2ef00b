package director

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// TestAPairInUserspaceLeavesNothingBehind ends the Active one and then the Backup
// that took over, while a client asks.
func TestAPairInUserspaceLeavesNothingBehind(t *testing.T) {
	r := newRigOf(t, Userspace, network{}, 2)
	r.pair()
	first, second := r.directors[0], r.directors[1]
	before := []string{first.state(), second.state()}
	for _, m := range r.directors {
		m.start()
	}
	first.says("state backup -> active")
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	load := r.load()
	load.more(r, 20)
	waiting := r.connect(nil)
	if _, failed := load.reset(); len(failed) > 0 {
		t.Errorf("in peace %d requests failed: %q", len(failed), failed)
	}
	first.stop()
	if _, err := waiting.say("are you there?"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a connection through the director that ended: %v, want a reset", err)
	}
	second.says("state backup -> active resigned")
	first.same("after SIGTERM of the Active", before[0], first.state())
	first.empty()
	if _, failed := load.after(r); slices.ContainsFunc(failed, func(err string) bool { return strings.Contains(err, "timeout") }) {
		t.Errorf("requests waited in vain for the director that ended: %q", failed)
	}
	load.more(r, 20)
	if _, failed := load.reset(); len(failed) > 0 {
		t.Errorf("with the other director %d requests failed: %q", len(failed), failed)
	}
	load.stop()
	second.stop()
	second.same("after SIGTERM of the last", before[1], second.state())
	second.empty()
}

// TestARestartInUserspaceRefusesNothing starts one director after the other on the same
// machine. Each takes the table, the sockets and the address of the one before.
func TestARestartInUserspaceRefusesNothing(t *testing.T) {
	r := newRigOf(t, Userspace, network{}, 2)
	m := r.directors[0]
	r.directors = r.directors[:1]
	before := m.state()
	m.start()
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	load := r.load()
	load.more(r, 10)
	for range 3 {
		conn := r.connect(nil)
		old := m.Process
		m.Process = labtest.Start(t, m.Host, "dataplane userspace", m.program, append(m.args, "-config", m.file, "-run", m.run)...)
		conn.lives("while its director gives way")
		conn.close()
		m.says("ready\n")
		m.ended(old)
		if !m.holds() {
			t.Error("the address did not stay")
		}
		for _, change := range []string{"ip address", "ipvsadm -d", "ipvsadm -A", "down "} {
			if strings.Contains(m.Output(), change) {
				t.Errorf("the successor began with %q:\n%s", change, m.Output())
			}
		}
		load.more(r, 30)
	}
	load.stop()
	by, failed := load.reset()
	t.Logf("answers %v", by)
	if len(failed) > 0 || len(by) != 2 {
		t.Errorf("answers %v, %d requests failed: %q", by, len(failed), failed)
	}
	m.stop()
	m.same("after all of them", before, m.state())
	m.empty()
}

// ended waits until a director has ended well.
func (m *machine) ended(p *lab.Process) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		m.Fatalf("the predecessor: %v\n%s", err, p.Output())
	}
}

// TestAKilledDirectorInUserspaceReturns finds what SIGKILL has left, and takes it away
// in the end.
func TestAKilledDirectorInUserspaceReturns(t *testing.T) {
	r := newRigOf(t, Userspace, network{}, 1)
	m := r.directors[0]
	r.directors = r.directors[:1]
	before := m.state()
	m.start()
	r.served(r.servers[0], true, time.Minute)
	if err := m.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if !m.holds() {
		t.Error("SIGKILL left no address behind: this test shows nothing")
	}
	m.start()
	r.served(r.servers[0], true, time.Minute)
	r.connect(nil)
	m.stop()
	m.same("after SIGKILL and another run", before, m.state())
	m.empty()
}

// TestWhatTheEngineCannotDoIsSaid starts directors with configurations for the kernel.
func TestWhatTheEngineCannotDoIsSaid(t *testing.T) {
	if need.Emulated() {
		t.Skip("it needs nothing that only this machine has")
	}
	r := newRigOf(t, Userspace, network{}, 1)
	m := r.directors[0]
	program := bin.Path(t, "director")
	for _, tt := range []struct {
		name, want string
		doc        object
		args       []string
	}{
		{
			"direct routing", `services[0].forward: only the kernel can forward by dr, and here the userspace engine forwards (-dataplane says so): write "forward": "nat"`,
			object{"services": []object{r.service().with("forward", "dr")}},
			nil,
		},
		{
			"connection sync", "sync: only the kernel can tell another director of its connections, and here the userspace engine forwards (-dataplane says so): leave it out",
			r.doc.with("sync", object{"id": 1}), nil,
		},
		{"another word", `-dataplane "both": want auto, kernel or userspace`, r.doc, []string{"-dataplane", "both"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.doc = tt.doc
			m.write()
			out, err := m.Run(t.Context(), program, append([]string{"-config", m.file, "-run", m.run, "-dataplane", "userspace"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v\n%s\nwant %s", err, out, tt.want)
			}
		})
	}
	m.empty()
}

// TestThePlanOfTheEngine changes nothing, not even where a director runs.
func TestThePlanOfTheEngine(t *testing.T) {
	r := newRigOf(t, Userspace, network{}, 1)
	m := r.directors[0]
	r.directors = r.directors[:1]
	m.start()
	r.served(r.servers[0], true, time.Minute)
	conn := r.connect(nil)
	plan := labtest.Run(t, m.Host, m.program, "-plan", "-dataplane", "userspace", "-config", m.file, "-run", m.run)
	for _, want := range []string{"ipvsadm -A -t " + r.target + " -s rr\n", "ipvsadm -a -t " + r.target + " -r " + r.servers[0].real() + " -m -w 2\n"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	conn.lives("after a plan")
	m.stop()
}

// TestARealServerLearnsWhoTheClientIs looks at what comes in front of a client's first
// line.
func TestARealServerLearnsWhoTheClientIs(t *testing.T) {
	r := newRigOf(t, Userspace, network{}, 1)
	m, s := r.directors[0], r.servers[0]
	r.directors = r.directors[:1]
	s.die()
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	service := r.service().with("proxy_protocol", true)
	delete(service, "check")
	r.doc = object{"services": []object{service}}
	m.start()
	ctx, cancel := context.WithTimeout(t.Context(), requestTime)
	defer cancel()
	conn, err := r.client.Dial(ctx, "tcp", r.target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	real, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	first := make([]byte, 16+12+len("hello")) // a header of IPv4
	if _, err := io.ReadFull(real, first); err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddrPort(conn.LocalAddr().String())
	client := from.Addr().As4()
	if !strings.HasPrefix(string(first), "\r\n\r\n\x00\r\nQUIT\n\x21\x11") || string(first[16:20]) != string(client[:]) || !strings.HasSuffix(string(first), "hello") {
		t.Errorf("%s has sent hello, and the real server has got %q", from, first)
	}
	m.stop()
}
