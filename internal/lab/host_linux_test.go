package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/netns"
)

func TestServerOnOneHostAnswersAnother(t *testing.T) {
	for _, tt := range []struct{ server, client string }{
		{"10.0.0.1:80", "10.0.0.2"},
		{"[fd00::1]:80", "fd00::2"},
	} {
		t.Run(tt.server, func(t *testing.T) {
			p := newPair(t)
			ln, err := p.a.Listen("tcp", tt.server)
			if err != nil {
				t.Fatal(err)
			}
			go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.RemoteAddr)
			}))
			client := &http.Client{Transport: &http.Transport{DialContext: p.b.Dial}}
			defer client.CloseIdleConnections()
			asked, err := p.atB.Capture(isSolicitation)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Get("http://" + tt.server)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if from, err := netip.ParseAddrPort(string(body)); err != nil || from.Addr().String() != tt.client {
				t.Errorf("the server saw a request from %q, not from host b", body)
			}
			if n := len(asked.Frames()); n != 1 {
				t.Errorf("host b asked %d times for its neighbour: a packet was lost", n)
			}
		})
	}
}

// isSolicitation tells ARP requests and neighbour solicitations to a group.
func isSolicitation(f []byte) bool {
	arp := bytes.Equal(f[:6], []byte{255, 255, 255, 255, 255, 255}) && f[12] == 8 && f[13] == 6
	ndp := bytes.Equal(f[:3], []byte{0x33, 0x33, 0xff}) && f[12] == 0x86 && f[13] == 0xdd && f[54] == 135
	return arp || ndp
}

func TestPacketConn(t *testing.T) {
	p := newPair(t)
	pc, err := p.a.ListenPacket("udp", "[fd00::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := p.b.Dial(p.ctx, "udp", "[fd00::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	pc.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if string(buf[:n]) != "question" || from.(*net.UDPAddr).IP.String() != "fd00::2" {
		t.Errorf("got %q from %v", buf[:n], from)
	}
}

func TestEveryWayOntoAHostIsThatHost(t *testing.T) {
	p := newPair(t)
	const fib = "/proc/thread-self/net/fib_trie"
	read := func(text *string) func() error {
		return func() error {
			b, err := os.ReadFile(fib)
			*text = string(b)
			return err
		}
	}
	var do, task, path string
	if err := p.b.Do(read(&do)); err != nil {
		t.Fatal(err)
	}
	if err := p.b.Go(func(context.Context) error { return read(&task)() }).Wait(p.ctx); err != nil {
		t.Fatal(err)
	}
	if err := netns.Do(p.b.Path(), read(&path)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"Do": do, "Go": task, "Path": path,
		"Run":                               labtest.Run(t, p.b, "cat", fib),
		"Path in a program of another host": labtest.Run(t, p.a, "nsenter", "--net="+p.b.Path(), "cat", fib),
	} {
		if !strings.Contains(text, "10.0.0.2\n") || strings.Contains(text, "10.0.0.1\n") {
			t.Errorf("%s: host b has other addresses than its own:\n%s", name, text)
		}
	}
	if own, err := os.ReadFile("/proc/self/net/fib_trie"); err != nil || strings.Contains(string(own), "10.0.0.2") {
		t.Errorf("the program itself is on the host (%v)", err)
	}
}

func TestDoCarriesOver(t *testing.T) {
	p := newPair(t)
	wrong := errors.New("wrong")
	t.Run("an error as it is", func(t *testing.T) {
		if err := p.a.Do(func() error { return wrong }); err != wrong {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a panic with its stack", func(t *testing.T) {
		defer func() {
			err, _ := recover().(error)
			if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "TestDoCarriesOver") {
				t.Errorf("got %v", err)
			}
		}()
		p.a.Do(func() error { panic(wrong) })
	})
	t.Run("the end of a goroutine", func(t *testing.T) {
		after := make(chan bool, 1)
		go func() {
			defer close(after)
			p.a.Do(func() error { (&testing.T{}).SkipNow(); return nil })
			after <- true
		}()
		if <-after {
			t.Error("Do returned from a function that did not")
		}
	})
}

func TestRouterForwardsBetweenSwitches(t *testing.T) {
	l := labtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left, right := labtest.Switch(t, l, "left"), labtest.Switch(t, l, "right")
	a, router, b := labtest.Host(t, l, "a"), labtest.Host(t, l, "router"), labtest.Host(t, l, "b")
	labtest.Connect(t, a, left, "10.1.0.1/24", "fd01::1/64")
	labtest.Connect(t, router, left, "10.1.0.254/24", "fd01::fe/64")
	labtest.Connect(t, router, right, "10.2.0.254/24", "fd02::fe/64")
	labtest.Connect(t, b, right, "10.2.0.1/24", "fd02::1/64")
	for _, r := range []struct {
		host     *lab.Host
		dst, via string
	}{
		{a, "0.0.0.0/0", "10.1.0.254"},
		{a, "fd02::/64", "fd01::fe"},
		{b, "10.1.0.0/24", "10.2.0.254"},
		{b, "::/0", "fd02::fe"},
	} {
		if err := r.host.Route(netip.MustParsePrefix(r.dst), netip.MustParseAddr(r.via)); err != nil {
			t.Fatal(err)
		}
	}
	if out := labtest.Run(t, router, "cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"); out != "0\n0\n" {
		t.Errorf("forwarding is on before Forward: %q", out)
	}
	if err := router.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.2.0.1:7", "[fd02::1]:7"} {
		ln, err := b.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := a.Dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		ln.Close()
	}
}

func TestTask(t *testing.T) {
	p := newPair(t)
	wrong := errors.New("wrong")
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if err := p.a.Go(waits).Stop(); err != nil {
		t.Errorf("a stopped task: %v", err)
	}
	if err := p.a.Go(func(context.Context) error { return wrong }).Stop(); err != wrong {
		t.Errorf("a task that went wrong: %v", err)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	cancel()
	running := p.a.Go(waits)
	if err := running.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v", err)
	}
	p.lab.Close() // would wait for ever for a task that it did not end
	if err := running.Stop(); err != nil {
		t.Errorf("a task that the lab's end has ended: %v", err)
	}
}
