package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/bin"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// rig is a gateway with two servers inside and a client outside, none of which
// knows the other's network. Nothing forwards yet.
type rig struct {
	*testing.T
	gateway, server, other, client *lab.Host
	cable                          *lab.Link // of the client
	program, file, run             string
	before                         string // the gateway's state
	*lab.Process
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOf(t, bin.Path(t, "gateway"))
}

func newRigOf(t *testing.T, program string) *rig {
	t.Helper()
	need.Program(t, "ip")
	l := labtest.New(t)
	inside, outside := labtest.Switch(t, l, "inside"), labtest.Switch(t, l, "outside")
	r := &rig{
		T: t, program: program, file: filepath.Join(t.TempDir(), "rules"), run: t.TempDir(),
		gateway: labtest.Host(t, l, "gateway"), server: labtest.Host(t, l, "server"),
		other: labtest.Host(t, l, "other"), client: labtest.Host(t, l, "client"),
	}
	for _, c := range []struct {
		name string
		to   *lab.Switch
		v4   string
		v6   string
	}{{"ens33", inside, "192.168.160.1/24", "fd00::1/64"}, {"ens36", outside, "12.0.0.1/24", "2001:db8::1/64"}} {
		_, err := r.gateway.Connect(c.to, lab.LinkConfig{Name: c.name, Addrs: []netip.Prefix{netip.MustParsePrefix(c.v4), netip.MustParsePrefix(c.v6)}})
		r.must(err)
	}
	labtest.Connect(t, r.server, inside, "192.168.160.100/24", "fd00::100/64")
	labtest.Connect(t, r.other, inside, "192.168.160.101/24", "fd00::101/64")
	for _, h := range []*lab.Host{r.server, r.other} {
		r.must(h.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.168.160.1")))
		r.must(h.Route(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00::1")))
	}
	r.cable = labtest.Connect(t, r.client, outside, "12.0.0.12/24", "2001:db8::12/64")
	r.before = r.state()
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// start runs the gateway with these flags until it is ready.
func (r *rig) start(args ...string) {
	r.Helper()
	r.Process = labtest.Start(r.T, r.gateway, "ready\n", r.program, append(args, "-run", r.run)...)
}

// once runs the gateway to its end, and returns what it says.
func (r *rig) once(args ...string) (string, error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	return r.gateway.Run(ctx, r.program, append(args, "-run", r.run)...)
}

// stop ends the gateway as systemd would.
func (r *rig) stop() {
	r.Helper()
	r.must(r.Signal(syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		r.Fatalf("%s: %v\n%s", r.Process, err, r.Output())
	}
}

// write writes the file of rules.
func (r *rig) write(lines ...string) {
	r.Helper()
	r.must(os.WriteFile(r.file, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// hup makes the gateway read the file, until it has said text once more; it
// returns what it has said since.
func (r *rig) hup(text string) string {
	r.Helper()
	seen := len(r.Output())
	r.must(r.Signal(syscall.SIGHUP))
	r.until("the gateway says "+text, func() bool { return strings.Contains(r.Output()[seen:], text) })
	return r.Output()[seen:]
}

// says waits until the gateway has written text.
func (r *rig) says(text string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	r.must(r.WaitOutput(ctx, text))
}

// state is all that a gateway can change on its machine: rules, and the settings
// of the network.
func (r *rig) state() string {
	r.Helper()
	return r.rules() + labtest.Run(r.T, r.gateway, "sh", "-c", "cd /proc/sys/net && grep -rs . ipv4 ipv6; true")
}

// rules are those of all backends that there are.
func (r *rig) rules() (all string) {
	r.Helper()
	if program("nft") {
		all += labtest.Run(r.T, r.gateway, "nft", "list", "ruleset")
	}
	// The programs of legacy iptables would load the table: it is looked at where it is.
	r.must(r.gateway.Do(func() error {
		for _, f := range []string{"ip_tables_names", "ip6_tables_names"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + f)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if strings.Contains(string(text), "nat") {
				all += "legacy\n"
			}
		}
		return nil
	}))
	if strings.Contains(all, "legacy") {
		for _, p := range []string{"iptables-legacy-save", "ip6tables-legacy-save"} {
			for line := range strings.Lines(labtest.Run(r.T, r.gateway, p, "-t", "nat")) {
				if strings.HasPrefix(line, "-A") {
					all += line
				}
			}
		}
		all = strings.ReplaceAll(all, "legacy\n", "")
	}
	return all
}

// asBefore says that nothing is left.
func (r *rig) asBefore(when string) {
	r.Helper()
	if after := r.state(); after != r.before {
		r.Errorf("%s the gateway's machine differs:\n%s", when, difference(r.before, after))
	}
	if left, err := os.ReadDir(r.run); err != nil || len(left) > 0 {
		r.Errorf("%s there is %v, %v", when, left, err)
	}
}

// difference is the lines that one text has and the other has not.
func difference(before, after string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, has, lacks string }{{"-", before, after}, {"+", after, before}} {
		for line := range strings.Lines(side.has) {
			if !strings.Contains("\n"+side.lacks, "\n"+line) {
				b.WriteString(side.sign + line)
			}
		}
	}
	return b.String()
}

// serve starts a server that tells each client who it seems to be, and then
// repeats what it says.
func (r *rig) serve(h *lab.Host, addrs ...string) {
	r.Helper()
	for _, addr := range addrs {
		l, err := h.Listen("tcp", addr)
		r.must(err)
		r.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					fmt.Fprintf(c, "%s\n", c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
					io.Copy(c, c)
				}()
			}
		}()
	}
}

// conn is a connection that lives longer than one question.
type conn struct {
	net.Conn
	peer string // who the server says that the client is
}

// dial connects; it is an error also if nobody answers.
func (r *rig) dial(from *lab.Host, addr string) (*conn, error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r.Cleanup(func() { c.Close() })
	peer, err := line(c)
	return &conn{c, peer}, err
}

// asks says who the server at addr takes the host for.
func (r *rig) asks(from *lab.Host, addr, want string) {
	r.Helper()
	c, err := r.dial(from, addr)
	if err != nil {
		r.Errorf("%s: %v", from.Name(), err)
		return
	}
	if c.peer != want {
		r.Errorf("%s asks %s and is %s there, want %s", from.Name(), addr, c.peer, want)
	}
	c.Close()
}

// refused says that there is nothing at addr.
func (r *rig) refused(from *lab.Host, addr string) {
	r.Helper()
	if c, err := r.dial(from, addr); err == nil {
		r.Errorf("%s reaches %s, as %s", from.Name(), addr, c.peer)
	}
}

// lives says that the connection still is one.
func (r *rig) lives(c *conn, when string) {
	r.Helper()
	_, err := fmt.Fprintln(c, when)
	if err == nil {
		var text string
		if text, err = line(c); err == nil && text != when {
			err = fmt.Errorf("it has %q", text)
		}
	}
	if err != nil {
		r.Errorf("the connection does not live %s: %v", when, err)
	}
}

// line reads a line, byte by byte so that nothing of the next one is lost.
func line(c net.Conn) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	var text []byte
	for b := make([]byte, 1); ; text = append(text, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			return string(text), err
		}
		if b[0] == '\n' {
			return string(text), nil
		}
	}
}

// until polls.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !ok(); <-tick.C {
		if time.Since(begun) > time.Minute {
			r.Fatalf("it does not come to pass that %s", what)
		}
	}
}
