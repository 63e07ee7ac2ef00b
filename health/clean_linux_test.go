package health

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// TestHowConnectionsEnd looks at packets: by FIN, or by RST.
func TestHowConnectionsEnd(t *testing.T) {
	s := newStreet(t)
	tests := []struct {
		name  string
		probe TCP
		want  byte
		not   byte
	}{
		{"usually", TCP{}, tcpFIN, tcpRST},
		{"with Reset", TCP{Reset: true}, tcpRST, tcpFIN},
		{"from a port", TCP{Source: Source{Port: 4000}}, tcpRST, tcpFIN},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ends := capture(t, s.first, isEnd)
			tt.probe.Addr, tt.probe.Source.NetNS = s.addr, s.prober.Path()
			judge(t, tt.probe, verdict{})
			frame, err := ends.Next(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, flags := sent(frame.Data); flags&tt.want == 0 || flags&tt.not != 0 {
				t.Errorf("the connection ends with the flags %06b", flags)
			}
		})
	}
}

// openFiles is how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestProbesLeaveNothing: no goroutine and no descriptor is left when a probe has
// returned, however it ended.
func TestProbesLeaveNothing(t *testing.T) {
	ok := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ok.EnableHTTP2 = true
	ok.StartTLS()
	defer ok.Close()
	good := netip.MustParseAddrPort(ok.Listener.Addr().String())
	anyone := &tls.Config{InsecureSkipVerify: true}
	silent := serve(t, hold)
	mail := serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 hi\r\n"); hold(c) })
	l, closed := loopback(t)
	l.Close()
	probers := []Prober{
		TCP{Addr: good},
		TCP{Addr: closed},
		TCP{Addr: silent, Expect: regexp.MustCompile("x")},
		TLS{Addr: good, Config: anyone},
		TLS{Addr: good},
		TLS{Addr: silent},
		HTTP{Addr: good, TLS: anyone, URLs: []URL{{}, {Path: "/2"}}},
		HTTP{Addr: good, TLS: anyone, Version: HTTP2},
		HTTP{Addr: good},
		HTTP{Addr: silent},
		HTTP{Addr: silent, Version: HTTP2},
		SMTP{Addr: mail},
		SMTP{Addr: closed},
		TCP{Addr: good, Source: Source{Device: "no-such-device"}},
		TCP{Addr: good, Source: Source{NetNS: "/nowhere"}},
	}
	probe := func(p Prober, timeout time.Duration, cancel bool) {
		ctx, end := context.WithTimeout(t.Context(), timeout)
		defer end()
		if cancel {
			ctx, end = context.WithCancel(ctx)
			defer time.AfterFunc(timeout/2, end).Stop()
		}
		_, _ = p.Probe(ctx) // how it ends is for other tests
	}
	each := func() {
		for _, p := range probers {
			probe(p, 30*time.Millisecond, false)
			probe(p, 30*time.Millisecond, true)
		}
	}
	each() // what stays, such as the runtime's poller and the roots, comes now
	ok.CloseClientConnections()
	goroutines, files := calm(t)
	rounds := 5
	if need.Emulated() {
		rounds = 1
	}
	for range rounds {
		each()
	}
	ok.CloseClientConnections()
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines and %d descriptors, were %d and %d\n%s",
				runtime.NumGoroutine(), openFiles(t), goroutines, files, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// calm counts goroutines and descriptors when they have not changed for a while: the
// servers of a test see the ends of connections later than their clients.
func calm(t *testing.T) (goroutines, files int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for same := 0; same < 20 && time.Now().Before(deadline); same++ {
		if g, f := runtime.NumGoroutine(), openFiles(t); g != goroutines || f != files {
			goroutines, files, same = g, f, 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return goroutines, files
}
