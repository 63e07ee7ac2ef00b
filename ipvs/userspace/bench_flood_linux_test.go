package userspace

import (
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkUDPFlood is what a datagram costs that comes from an address like no
// other, as most do in a flood with forged sources: "new" while there is room for
// a session of its own, "crowded" when there is none. "known" is a datagram of a
// client that has a session. The datagrams are in the socket before Run, so that
// the processor time is the Engine's alone.
func BenchmarkUDPFlood(b *testing.B) {
	const clients = 4000
	for _, test := range []struct {
		name          string
		room, sources int
		done          func(d *udpDirector) bool
	}{
		{"new", clients, clients, func(d *udpDirector) bool { return d.sessions() == clients }},
		{"crowded", 1, clients, func(d *udpDirector) bool { return d.front().lost.crowded.Load() == clients-1 }},
		{"known", 1, 1, func(d *udpDirector) bool {
			return d.front().service.stats.inPackets.Load() == clients
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			var spent time.Duration
			var heap uint64
			for b.Loop() {
				sink := listenUDPAt(b, "127.0.0.1:0")
				d := openUDP(b, Config{Workers: 1, MaxConnections: test.room}, "127.0.0.1", nil, sink.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort())
				sendForged(b, d.id.Addr, clients, test.sources)
				memory := heapInUse()
				before := processorTime(b)
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx) }()
				eventually(b, "all datagrams are taken", func() bool { return test.done(d) })
				spent += processorTime(b) - before
				heap = heapInUse() - memory
				cancel()
				<-ended
				d.Close()
				sink.Close()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*clients), "cpu-ns/datagram")
			if test.name == "new" {
				b.ReportMetric(float64(heap)/clients, "heap-B/session")
			}
		})
	}
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sendForged sends n datagrams by one socket from as many addresses of 127.0.0.0/8
// (IP_PKTINFO).
func sendForged(t testing.TB, to netip.AddrPort, n, sources int) {
	t.Helper()
	c := listenUDPAt(t, "0.0.0.0:0")
	defer c.Close()
	control := make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.SOL_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
	for i := range n {
		info.Spec_dst = [4]byte{127}
		binary.BigEndian.PutUint16(info.Spec_dst[2:], uint16(i%sources))
		info.Spec_dst[1] = 9
		if _, _, err := c.WriteMsgUDPAddrPort([]byte("?"), control, to); err != nil {
			t.Fatal(err)
		}
	}
}
