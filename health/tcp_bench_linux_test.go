package health

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { children["tcp server"] = acceptForEver }

// acceptForEver says where it listens, greets whom it accepts, and closes.
func acceptForEver() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		fmt.Println(err)
		return
	}
	if err := unix.Listen(fd, 4096); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(local(fd))
	for {
		c, _, err := unix.Accept(fd)
		if err != nil {
			continue
		}
		_ = unix.Sendto(c, []byte("+OK\r\n"), unix.MSG_NOSIGNAL, nil) // some do not wait for it
		unix.Close(c)
	}
}

// child starts a program of the tests that tells the address of its server.
func child(b *testing.B, name string) netip.AddrPort {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	line, _, err := bufio.NewReader(out).ReadLine()
	if err != nil {
		b.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(string(line))
	if err != nil {
		b.Fatal(err)
	}
	return addr
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTCP is a probe of a server in another process over the loopback; cpu-ns/op
// is the processor time of this process alone. All close by a reset, because
// TIME_WAIT eats the ports otherwise.
func BenchmarkTCP(b *testing.B) {
	addr := child(b, "tcp server")
	run := func(name string, probe func(context.Context) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				if err := probe(ctx); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
	run("TCP", func(ctx context.Context) error {
		_, err := TCP{Addr: addr, Reset: true}.Probe(ctx)
		return err
	})
	dial := func(ctx context.Context, read bool) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetLinger(0)
		if !read {
			return nil
		}
		deadline, _ := ctx.Deadline()
		_ = c.SetDeadline(deadline)
		_, err = c.Read(make([]byte, 512))
		return err
	}
	run("net.Dialer", func(ctx context.Context) error { return dial(ctx, false) })
	greeting := regexp.MustCompile(`^\+OK`)
	run("TCP with an answer", func(ctx context.Context) error {
		_, err := TCP{Addr: addr, Reset: true, Expect: greeting}.Probe(ctx)
		return err
	})
	run("net.Dialer with an answer", func(ctx context.Context) error { return dial(ctx, true) })
}
