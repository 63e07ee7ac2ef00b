package userspace

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/ipvs"
)

// TestUDPJoined has clients and real servers that send joined datagrams
// (UDP_SEGMENT), which the Engine receives joined.
func TestUDPJoined(t *testing.T) {
	for _, host := range loopbacks {
		t.Run(host, func(t *testing.T) {
			server := echoUDP(t, host)
			d := directUDP(t, Config{Workers: 1}, host, nil, server.addr)
			c := d.client(t)
			c.SetReadBuffer(4 << 20)
			sent, packets := 0, 0
			for _, test := range []struct{ size, segment int }{
				{10_000, 1000}, {10_001, 1000}, {999, 1000}, {1000, 1000}, {2, 1}, {60_000, 1200}, {65_000, 32_500}, {64, 1}, {50_000, 49_999},
			} {
				data := make([]byte, test.size)
				for i := range data {
					data[i] = byte(i * 7 / test.segment)
				}
				if err := sendSegments(c, data, test.segment); err != nil {
					t.Skip("the kernel has no UDP_SEGMENT: ", err)
				}
				sent += len(data)
				for len(data) > 0 {
					packets++
					n := min(test.segment, len(data))
					if got := hear(t, c); got != string(data[:n]) {
						t.Fatalf("%+v: %d bytes are other %d bytes", test, n, len(got))
					}
					data = data[n:]
				}
			}
			if n := server.count.Load(); n != int64(packets) {
				t.Errorf("%d datagrams have reached the real server, want %d", n, packets)
			}
			st, err := d.Service(t.Context(), d.id)
			if err != nil {
				t.Fatal(err)
			}
			overhead := 28
			if host == "::1" {
				overhead = 48
			}
			if got, bytes := st.Stats, uint64(sent+packets*overhead); got.InPackets != uint64(packets) || got.OutPackets != uint64(packets) || got.InBytes != bytes || got.OutBytes != bytes {
				t.Errorf("the counters are %+v, want %d packets and %d bytes each way", got, packets, bytes)
			}
		})
	}
}

// sendSegments sends data as datagrams of a size.
func sendSegments(c *net.UDPConn, data []byte, size int) error {
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Sendmsg(int(fd), data, b, nil, 0) })
	if err != nil {
		return err
	}
	return failed
}

// TestUDPNarrowPath has datagrams that the path takes only in fragments: they
// cannot be joined.
func TestUDPNarrowPath(t *testing.T) {
	l := labtest.New(t)
	front, back := labtest.Switch(t, l, "front"), labtest.Switch(t, l, "back")
	client, middle, server := labtest.Host(t, l, "client"), labtest.Host(t, l, "director"), labtest.Host(t, l, "server")
	labtest.Connect(t, client, front, "10.0.0.1/24", "fd00::1/64")
	labtest.Connect(t, middle, front, "10.0.0.2/24", "10.0.0.77/24", "fd00::2/64", "fd00::77/64")
	labtest.Connect(t, middle, back, "10.0.1.2/24", "fd00:1::2/64")
	labtest.Connect(t, server, back, "10.0.1.3/24", "fd00:1::3/64")
	e, err := Open(Config{NetNS: middle.Path()})
	if err != nil {
		t.Fatal(err)
	}
	const datagrams, size = 20, 3000
	var conns []net.PacketConn
	var vips []netip.AddrPort
	for _, test := range []struct{ client, vip, server string }{
		{"10.0.0.1:0", "10.0.0.77:53", "10.0.1.3:53"},
		{"[fd00::1]:0", "[fd00::77]:53", "[fd00:1::3]:53"},
	} {
		serveUDPBy(t, onHost(t, server, test.server), func(b []byte) []byte { return b })
		s := ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort(test.vip)}, Scheduler: ipvs.RR}
		s.Destinations = []ipvs.Destination{udpDestination(netip.MustParseAddrPort(test.server))}
		if err := e.AddService(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		c := onHost(t, client, test.client)
		defer c.Close()
		for i := range datagrams { // before Run, so that they are one batch
			if _, err := c.WriteTo(bytes.Repeat([]byte{byte(i)}, size), net.UDPAddrFromAddrPort(s.ID.Addr)); err != nil {
				t.Fatal(err)
			}
		}
		conns, vips = append(conns, c), append(vips, s.ID.Addr)
	}
	d := &director{Engine: e}
	d.run(t)
	for i, c := range conns {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		for n := range datagrams {
			var buf [1 << 16]byte
			got, from, err := c.ReadFrom(buf[:])
			if err != nil || got != size || buf[0] != byte(n) || buf[size-1] != byte(n) {
				t.Fatalf("datagram %d to %s has %d bytes, of %d: %v", n, vips[i], got, buf[0], err)
			}
			if from.(*net.UDPAddr).AddrPort() != vips[i] {
				t.Fatalf("an answer of %s is from %s", vips[i], from)
			}
		}
	}
	d.end()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// onHost is a UDP socket of a host.
func onHost(t testing.TB, h *lab.Host, addr string) *net.UDPConn {
	t.Helper()
	c, err := h.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UDPConn)
}

// TestUDPLosesNothing has 16 clients with 32 datagrams each on the way: all come
// back, in order.
func TestUDPLosesNothing(t *testing.T) {
	const clients, window, rounds = 16, 32, 30
	for _, size := range []int{4, 1200} {
		server := echoUDP(t, "127.0.0.1")
		d := directUDP(t, Config{}, "127.0.0.1", nil, server.addr)
		var all sync.WaitGroup
		for i := range clients {
			c := d.client(t)
			all.Go(func() {
				data, buf := make([]byte, size), make([]byte, 2*size)
				for round := range rounds {
					for n := range window {
						binary.BigEndian.PutUint32(data, uint32(i<<16|round*window+n))
						c.Write(data)
					}
					for n := range window {
						got, err := c.Read(buf)
						if want := uint32(i<<16 | round*window + n); err != nil || got != size || binary.BigEndian.Uint32(buf) != want {
							t.Errorf("client %d, datagram %d: %d bytes, %x: %v", i, round*window+n, got, buf[:4], err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		if n := d.front().lost.unsent.Load(); n != 0 {
			t.Errorf("%d datagrams were not sent", n)
		}
	}
}

// TestUDPAllocatesNothing has datagrams of a client with a session go there and
// back.
func TestUDPAllocatesNothing(t *testing.T) {
	const datagrams = 2000
	server := onLoopback(t)
	d := directUDP(t, Config{Workers: 1}, "127.0.0.1", nil, server.LocalAddr().(*net.UDPAddr).AddrPort())
	c := d.client(t)
	buf := make([]byte, 100)
	exchange := func() {
		c.Write(buf[:10])
		n, from, err := server.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		server.WriteToUDPAddrPort(buf[:n], from)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	exchange()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range datagrams {
		exchange()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > datagrams/10 {
		t.Errorf("%d allocations for %d datagrams", n, datagrams)
	}
}

func onLoopback(t testing.TB) *net.UDPConn {
	c := listenUDPAt(t, "127.0.0.1:0")
	t.Cleanup(func() { c.Close() })
	return c
}
