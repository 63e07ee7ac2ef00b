package health

import (
	"context"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"google.golang.org/grpc"
	server "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
)

// No goroutine and no descriptor is left when a probe has returned, however it ended:
// the probers that are not over plain TCP. A Pinger keeps its sockets until Close.
func TestOtherProbesLeaveNothing(t *testing.T) {
	dead := netip.MustParseAddrPort("127.0.0.1:9")
	mute := datagramServer(t, func([]byte) [][]byte { return nil })
	echo := datagramServer(t, func(b []byte) [][]byte { return [][]byte{b} })
	names := datagramServer(t, func(q []byte) [][]byte { return [][]byte{reply(t, q, nil)} })
	grpcs := grpcServer(t, func(s *grpc.Server) { pb.RegisterHealthServer(s, server.NewServer()) })
	silent := serve(t, hold)
	host := labtest.Host(t, labtest.New(t), "host")
	pinger := newPinger(t, PingerConfig{Source: Source{NetNS: host.Path()}})
	lost := newPinger(t, PingerConfig{Source: Source{Device: "no-such-device"}})
	dns := func(addr netip.AddrPort, tcp bool) DNS {
		return DNS{Addr: addr, Name: "www.test", Type: DNSTypeA, TCP: tcp}
	}
	file := filepath.Join(t.TempDir(), "none")
	probers := []Prober{
		dns(names, false), dns(mute, false), dns(dead, false), dns(silent, true), dns(dead, true),
		UDP{Addr: mute},
		UDP{Addr: mute, Reply: true},
		UDP{Addr: echo, Reply: true, Payload: "x"},
		UDP{Addr: dead},
		GRPC{Addr: grpcs},
		GRPC{Addr: grpcs, Service: "x"},
		GRPC{Addr: silent},
		GRPC{Addr: dead},
		pinger.Echo(netip.MustParseAddr("127.0.0.1")), pinger.Echo(netip.MustParseAddr("::1")),
		pinger.Echo(netip.MustParseAddr("192.0.2.1")), lost.Echo(netip.MustParseAddr("192.0.2.1")),
		File{Path: file},
		File{Path: file, Test: FileNumber},
		File{Path: "/", Test: FileZero},
		&Process{PIDFile: file}, &Process{PID: 1}, &Process{Name: "hc-none"}, &Process{Args: []string{"hc-none"}},
		Script{Path: "true"},
		Script{Path: "/nowhere"},
		Script{Path: "sleep", Args: []string{"9"}},
		Script{Path: "true", NetNS: "/nowhere"},
		All(UDP{Addr: mute}, dns(mute, false), Not(GRPC{Addr: grpcs})),
	}
	each := func() {
		for _, p := range probers {
			for _, cancelled := range []bool{false, true} {
				ctx, end := context.WithTimeout(t.Context(), 30*time.Millisecond)
				timer := time.AfterFunc(time.Hour, func() {})
				if cancelled {
					timer = time.AfterFunc(15*time.Millisecond, end)
				}
				_, _ = p.Probe(ctx) // how it ends is for other tests
				timer.Stop()
				end()
			}
		}
	}
	each()
	goroutines, files := calm(t)
	rounds := 5
	if need.Emulated() {
		rounds = 1
	}
	for range rounds {
		each()
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > goroutines || openFiles(t) > files; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines and %d descriptors, were %d and %d\n%s",
				runtime.NumGoroutine(), openFiles(t), goroutines, files, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
