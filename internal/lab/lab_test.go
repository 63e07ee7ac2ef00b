package lab_test

import (
	"context"
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
)

func TestMain(m *testing.M) { labtest.Main(m) }

// pair is two connected hosts: 10.0.0.1 and fd00::1, 10.0.0.2 and fd00::2.
type pair struct {
	lab  *lab.Lab
	lan  *lab.Switch
	a, b *lab.Host
	atA  *lab.Link
	atB  *lab.Link
	ctx  context.Context
}

func newPair(t *testing.T) *pair {
	t.Helper()
	l := labtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := &pair{lab: l, ctx: ctx, lan: labtest.Switch(t, l, "lan"), a: labtest.Host(t, l, "a"), b: labtest.Host(t, l, "b")}
	p.atA = labtest.Connect(t, p.a, p.lan, "10.0.0.1/24", "fd00::1/64")
	p.atB = labtest.Connect(t, p.b, p.lan, "10.0.0.2/24", "fd00::2/64")
	return p
}

func TestServerOnOneHostAnswersAnother(t *testing.T) {
	for _, addr := range []string{"10.0.0.1:80", "[fd00::1]:80"} {
		t.Run(addr, func(t *testing.T) {
			p := newPair(t)
			ln, err := p.a.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.RemoteAddr)
			}))
			begin := time.Now()
			client := &http.Client{Transport: &http.Transport{DialContext: p.b.Dial}}
			defer client.CloseIdleConnections()
			resp, err := client.Get("http://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			from, err := netip.ParseAddrPort(string(body))
			if err != nil || from.Addr() != netip.MustParseAddr("10.0.0.2") && from.Addr() != netip.MustParseAddr("fd00::2") {
				t.Errorf("the server saw a request from %q, not from host b", body)
			}
			if took := time.Since(begin); took > 500*time.Millisecond {
				t.Errorf("the first request took %v: a packet was lost", took)
			}
		})
	}
}

func TestProgramOnHostSeesOnlyThatHost(t *testing.T) {
	p := newPair(t)
	out := labtest.Run(t, p.b, "cat", "/proc/net/fib_trie")
	if !strings.Contains(out, "10.0.0.2") || strings.Contains(out, "|-- 10.0.0.1\n") {
		t.Errorf("host b has other addresses than its own:\n%s", out)
	}
	if have, _ := os.ReadFile("/proc/self/net/fib_trie"); strings.Contains(string(have), "10.0.0.2") {
		t.Error("the test's own namespace has the host's address")
	}
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
