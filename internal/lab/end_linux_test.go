package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// doomedEnv tells the test program to do something else than tests: to build a
// lab and end badly, by "panic", or "wait" to be killed; or to "enter".
const doomedEnv = "LVSKIT_LAB_DOOMED"

// buildDoomed makes a host on which a server, a program, its child and a
// daemon run, and one end of a veth pair whose other end is in the namespace
// of descriptor 3. It prints the pids. All of it must go with this process.
func buildDoomed(end string) {
	if end == "enter" {
		enterAndWait()
	}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	l, err := lab.New(lab.Config{})
	must(err)
	h, err := l.Host("doomed")
	must(err)
	_, err = h.Listen("tcp", "127.0.0.1:80")
	must(err)
	h.Go(func(context.Context) error { select {} })
	_, err = h.Run(context.Background(), "ip", "link", "add", "type", "veth", "peer", "name", "canary", "netns", fmt.Sprintf("/proc/%d/fd/3", os.Getpid()))
	must(err)
	p, err := h.Start("sh", "-c", "setsid sleep 1000 & sleep 1000 & echo $! $$; wait")
	must(err)
	must(p.WaitOutput(context.Background(), "\n"))
	fmt.Print(p.Output())
	if end == "panic" {
		panic("as the test wants")
	}
	select {}
}

func TestNothingOutlivesTheProcess(t *testing.T) {
	need.Root(t)
	need.Program(t, "ip", "setsid")
	for _, end := range []string{"panic", "wait"} {
		t.Run(end, func(t *testing.T) {
			outer, err := netns.New()
			if err != nil {
				t.Fatal(err)
			}
			defer outer.Close()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), doomedEnv+"="+end)
			cmd.ExtraFiles = []*os.File{outer}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			var child, shell int
			if _, err := fmt.Fscan(bufio.NewReader(stdout), &child, &shell); err != nil {
				t.Fatal(err)
			}
			canary := func() bool {
				return netns.Do(fmt.Sprintf("/proc/self/fd/%d", outer.Fd()), func() error {
					_, err := net.InterfaceByName("canary")
					return err
				}) == nil
			}
			if end == "wait" {
				if !canary() || !alive(child) || !alive(shell) {
					t.Fatal("the lab is not as the test wants it")
				}
				cmd.Process.Kill()
			}
			cmd.Wait()
			eventually(t, "the program and its child end", func() bool { return !alive(shell) && !alive(child) })
			eventually(t, "the namespace goes, and with it the last process there", func() bool { return !canary() })
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	p := newPair(t)
	proc := labtest.Start(t, p.a, "\n", "sh", "-c", "setsid sleep 1000 & echo $!; sleep 1000")
	daemon := pidOf(t, proc.Output())
	ln, err := p.a.Listen("tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.atA.Capture(nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	p.a.Go(func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return nil
	})
	accepted := p.a.Go(func(context.Context) error { // as http.Serve does
		_, err := ln.Accept()
		return err
	})
	var both sync.WaitGroup
	both.Go(func() { p.lab.Close() })
	both.Go(func() { p.lab.Close() })
	both.Wait()
	if err := p.lab.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if !ended {
		t.Error("Close has not waited for the task")
	}
	if proc.Wait(p.ctx) == nil || alive(proc.Pid()) || alive(daemon) {
		t.Error("a process still runs")
	}
	acceptErr := accepted.Wait(p.ctx)
	_, nextErr := drainNext(p.ctx, c)
	_, hostErr := p.lab.Host("c")
	_, switchErr := p.lab.Switch("s")
	_, connectErr := p.a.Connect(p.lan, lab.LinkConfig{})
	_, listenErr := p.a.Listen("tcp", ":81")
	_, dialErr := p.a.Dial(p.ctx, "tcp", "10.0.0.1:80")
	_, runErr := p.a.Run(p.ctx, "true")
	_, startErr := p.a.Start("true")
	_, captureErr := p.atA.Capture(nil)
	for name, err := range map[string]error{
		"Accept": acceptErr, "Next": nextErr, "Host": hostErr, "Switch": switchErr, "Connect": connectErr, "Listen": listenErr,
		"Dial": dialErr, "Run": runErr, "Start": startErr, "Capture": captureErr, "Down": p.atA.Down(), "Forward": p.a.Forward(),
		"Do":    p.a.Do(func() error { t.Error("Do called its function"); return nil }),
		"Go":    p.a.Go(func(context.Context) error { t.Error("Go called its function"); return nil }).Wait(p.ctx),
		"Route": p.a.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.0.2")), "Impair": p.atA.Impair(lab.Impairment{}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed lab: %v", name, err)
		}
	}
}

func drainNext(ctx context.Context, c *lab.Capture) (f lab.Frame, err error) {
	for err == nil {
		f, err = c.Next(ctx)
	}
	return f, err
}

func TestNothingLeaks(t *testing.T) {
	cycle := func() {
		p := newPair(t)
		if _, err := p.atA.Capture(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := p.a.ListenPacket("udp", ":53"); err != nil {
			t.Fatal(err)
		}
		labtest.Start(t, p.a, "ok", "sh", "-c", "echo ok; sleep 1000")
		labtest.Run(t, p.b, "true")
		p.a.Go(func(ctx context.Context) error { <-ctx.Done(); return nil })
		if _, err := p.a.Connect(p.lan, lab.LinkConfig{MTU: 1}); err == nil {
			t.Fatal("no error")
		}
		p.lab.Close()
	}
	count := func() (n [3]int) {
		for i, dir := range []string{"/proc/self/fd", "/proc/self/task"} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			n[i] = len(entries)
		}
		n[2] = runtime.NumGoroutine()
		return n
	}
	cycle()
	before, after := count(), [3]int{}
	const cycles = 10
	for range cycles {
		cycle()
	}
	// Threads end, and idle ones are kept, in the runtime's own time: fewer
	// than one for each cycle is no leak.
	eventually(t, "descriptors, threads and goroutines go back", func() bool {
		after = count()
		return after[0] <= before[0] && after[1] < before[1]+cycles/2 && after[2] <= before[2]
	})
	t.Logf("descriptors, threads, goroutines: before %v, after %v", before, after)
}

func TestManyHosts(t *testing.T) {
	l := labtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lan := labtest.Switch(t, l, "lan")
	const hosts = 50
	begin := time.Now()
	first := labtest.Host(t, l, "host0")
	labtest.Connect(t, first, lan, "10.0.0.100/24")
	ln, err := first.Listen("tcp", "10.0.0.100:80")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < hosts; n++ {
		h := labtest.Host(t, l, fmt.Sprintf("host%d", n))
		labtest.Connect(t, h, lan, fmt.Sprintf("10.0.0.%d/24", n))
		conn, err := h.Dial(ctx, "tcp", "10.0.0.100:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if from := in.RemoteAddr().String(); !strings.HasPrefix(from, fmt.Sprintf("10.0.0.%d:", n)) {
			t.Errorf("host %d came from %s", n, from)
		}
		in.Close()
	}
	made := time.Since(begin)
	l.Close()
	t.Logf("%d hosts in %v, closed in %v", hosts, made, time.Since(begin)-made)
}
