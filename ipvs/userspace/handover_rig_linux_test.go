package userspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/ipvs"
)

func init() { children["heir"] = heirProgram }

// heirProgram is a program that is restarted by handover: heirProgram PATH TCP
// UDP, both with their real server, as VIP=SERVER. It says "open", waits for a
// line, runs, and says how that ended.
func heirProgram() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	e, err := Open(Config{
		Handover: os.Args[1], DrainTimeout: 30 * time.Second,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var want []ipvs.Service
	for i, protocol := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP} {
		vip, server, _ := strings.Cut(os.Args[2+i], "=")
		want = append(want, ipvs.Service{
			ID: ipvs.ServiceID{Protocol: protocol, Addr: netip.MustParseAddrPort(vip)}, Scheduler: ipvs.RR,
			Destinations: []ipvs.Destination{{Addr: netip.MustParseAddrPort(server), Forward: ipvs.ForwardMasq, Weight: 1}},
		})
	}
	made, err := e.Apply(ctx, want, ipvs.Policy{})
	if err == nil {
		err = e.SetTimeouts(ctx, ipvs.Timeouts{UDP: time.Second}) // for which a predecessor waits
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open", len(made))
	bufio.NewReader(os.Stdin).ReadString('\n')
	err = e.Run(ctx)
	fmt.Println("ended", errors.Is(err, ErrSucceeded), err)
	e.Close()
}

// estateRig is services that programs hand to each other, with a load on them.
type estateRig struct {
	path     string
	tcp, udp netip.AddrPort
	args     []string
}

func newEstateRig(t *testing.T) *estateRig {
	tcpServer := serve(t, "127.0.0.1", func(c *net.TCPConn) { io.Copy(c, c) })
	udpServer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var echo sync.WaitGroup
	echo.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := udpServer.ReadFrom(buf)
			if err != nil {
				return
			}
			udpServer.WriteTo(buf[:n], from)
		}
	})
	t.Cleanup(func() {
		udpServer.Close()
		echo.Wait()
	})
	r := &estateRig{path: filepath.Join(t.TempDir(), "heir"), tcp: freeAddr(t, "127.0.0.1"), udp: freeAddr(t, "127.0.0.1")}
	r.args = []string{r.path, fmt.Sprintf("%s=%s", r.tcp, tcpServer), fmt.Sprintf("%s=%s", r.udp, udpServer.LocalAddr())}
	return r
}

// heir is a process of heirProgram.
type heir struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr strings.Builder
}

// start starts the program and waits until it is open. changes is what it had to
// change in the table that it found.
func (r *estateRig) start(t *testing.T) (h *heir, changes int) {
	t.Helper()
	h = r.launch(t)
	line := h.line(t)
	if _, err := fmt.Sscanf(line, "open %d", &changes); err != nil {
		t.Fatalf("the program says %q, want that it is open", line)
	}
	return h, changes
}

// launch starts the program.
func (r *estateRig) launch(t *testing.T) *heir {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &heir{cmd: exec.Command(exe, r.args...)}
	h.cmd.Env = append(os.Environ(), childEnv+"=heir")
	h.cmd.Stderr = &h.stderr
	h.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.stdout = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("process %d:\n%s", h.cmd.Process.Pid, h.stderr.String())
		}
	})
	return h
}

func (h *heir) line(t *testing.T) string {
	t.Helper()
	line, err := h.stdout.ReadString('\n')
	if err != nil {
		t.Errorf("the program says nothing more: %v", err)
	}
	return strings.TrimSpace(line)
}

// run lets it run.
func (h *heir) run() { io.WriteString(h.stdin, "run\n") }

func (h *heir) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
}

// traffic is clients that never pause.
type traffic struct {
	connections, packets atomic.Int64 // that were answered
	end                  func()       // ends them, and tells the test what went wrong
}

// load begins: each TCP client makes connections of one request, each UDP client
// sends packets and waits for each answer. End it before the programs.
func (r *estateRig) load(t *testing.T, clients int) *traffic {
	l := new(traffic)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := request(r.tcp); err != nil {
					t.Errorf("TCP: %v", err)
					return
				}
				l.connections.Add(1)
			}
		})
		all.Go(func() {
			c, err := net.Dial("udp", r.udp.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := 0; ctx.Err() == nil; n++ {
				if err := packet(c, n); err != nil {
					t.Errorf("UDP: packet %d: %v", n, err)
					return
				}
				l.packets.Add(1)
			}
		})
	}
	l.end = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		t.Logf("%d connections and %d packets were answered", l.connections.Load(), l.packets.Load())
	})
	return l
}

// goes on waits until the load has had a number of answers more.
func (l *traffic) goesOn(t *testing.T) {
	t.Helper()
	connections, packets := l.connections.Load(), l.packets.Load()
	eventually(t, "the load goes on", func() bool {
		return l.connections.Load() >= connections+50 && l.packets.Load() >= packets+50
	})
}

// request is one connection with one request.
func request(to netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", to.String(), 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err != nil || string(answer) != "ping" {
		return fmt.Errorf("the answer is %q, %w", answer, err)
	}
	return nil
}

func packet(c net.Conn, n int) error {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(c, n); err != nil {
		return err
	}
	buf := make([]byte, 100)
	size, err := c.Read(buf)
	if err == nil && string(buf[:size]) != fmt.Sprint(n) {
		err = fmt.Errorf("the answer is %q", buf[:size])
	}
	return err
}
