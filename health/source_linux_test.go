package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/sys/unix"
)

// A street is a prober with two interfaces on one switch, and a server that accepts.
type street struct {
	prober, server *lab.Host
	first, second  *lab.Link
	addr, addr6    netip.AddrPort
	local          netip.AddrPort // of the server, link-local, without a zone
}

func newStreet(t *testing.T) street {
	t.Helper()
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	s := street{
		prober: labtest.Host(t, l, "prober"), server: labtest.Host(t, l, "server"),
		addr: netip.MustParseAddrPort("10.0.0.9:80"), addr6: netip.MustParseAddrPort("[2001:db8::9]:80"),
	}
	s.first = labtest.Connect(t, s.prober, lan, "10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64", "2001:db8::2/64")
	s.second = labtest.Connect(t, s.prober, lan, "10.0.0.3/24")
	link := labtest.Connect(t, s.server, lan, "10.0.0.9/24", "10.0.0.10/24", "10.0.0.11/24", "2001:db8::9/64")
	s.local = netip.AddrPortFrom(linkLocal(link.MAC()), 80)
	listener, err := s.server.Listen("tcp", "[::]:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return s
}

// linkLocal is the address that the kernel makes from a MAC address.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

// Flags of TCP.
const (
	tcpFIN = 1
	tcpSYN = 2
	tcpRST = 4
)

// sent is where a segment to port 80 comes from, and its flags, which are 0 for other
// frames.
func sent(frame []byte) (from netip.AddrPort, flags byte) {
	if len(frame) < 54 {
		return from, 0
	}
	var addr netip.Addr
	var tcp []byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if frame[23] != unix.IPPROTO_TCP {
			return from, 0
		}
		addr, tcp = netip.AddrFrom4([4]byte(frame[26:])), frame[14+int(frame[14]&15)*4:]
	case unix.ETH_P_IPV6:
		if frame[20] != unix.IPPROTO_TCP {
			return from, 0
		}
		addr, tcp = netip.AddrFrom16([16]byte(frame[22:])), frame[54:]
	}
	if len(tcp) < 20 || binary.BigEndian.Uint16(tcp[2:]) != 80 {
		return from, 0
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(tcp)), tcp[13]
}

func isSYN(frame []byte) bool { _, flags := sent(frame); return flags == tcpSYN }
func isEnd(frame []byte) bool { _, flags := sent(frame); return flags&(tcpFIN|tcpRST) != 0 }

// TestSourceByPackets looks at what is sent: its interface, address and port.
func TestSourceByPackets(t *testing.T) {
	s := newStreet(t)
	addr := netip.MustParseAddr
	tests := []struct {
		name   string
		source Source
		to     netip.AddrPort
		second bool // it comes through the second interface
		from   string
		port   uint16 // 0 is any
	}{
		{"left to the kernel", Source{}, s.addr, false, "10.0.0.1", 0},
		{"an address", Source{Addr: addr("10.0.0.2")}, s.addr, false, "10.0.0.2", 0},
		{"an address of IPv6", Source{Addr: addr("2001:db8::2")}, s.addr6, false, "2001:db8::2", 0},
		{"a port", Source{Port: 1234}, s.addr, false, "10.0.0.1", 1234},
		{"the same port again", Source{Port: 1234}, s.addr, false, "10.0.0.1", 1234},
		{"an address and a port", Source{Addr: addr("2001:db8::2"), Port: 99}, s.addr6, false, "2001:db8::2", 99},
		{"a device", Source{Device: "eth1"}, s.addr, true, "10.0.0.3", 0},
		{"a device and an address of another", Source{Device: "eth1", Addr: addr("10.0.0.2")}, s.addr, true, "10.0.0.2", 0},
		{"a link-local address by its zone", Source{}, netip.AddrPortFrom(s.local.Addr().WithZone("eth1"), 80), true, "fe80::", 0},
		{"a link-local address by the number of the zone", Source{}, netip.AddrPortFrom(s.local.Addr().WithZone(fmt.Sprint(s.first.Index())), 80), false, "fe80::", 0},
		{"a link-local address by the zone of the source", Source{Addr: linkLocal(s.second.MAC()).WithZone("eth1")}, s.local, true, "fe80::", 0},
		{"a link-local address by a device", Source{Device: "eth1"}, s.local, true, "fe80::", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire, other := s.first, s.second
			if tt.second {
				wire, other = other, wire
			}
			want, wrong := capture(t, wire, isSYN), capture(t, other, isSYN)
			tt.source.NetNS = s.prober.Path()
			judge(t, TCP{Addr: tt.to, Source: tt.source}, verdict{})
			frame, err := want.Next(soon(t))
			if err != nil {
				t.Fatalf("nothing was sent through %s: %v", wire.Name(), err)
			}
			from, _ := sent(frame.Data)
			if !strings.HasPrefix(from.Addr().String(), tt.from) || tt.port != 0 && from.Port() != tt.port {
				t.Errorf("sent from %v, want %v port %d", from, tt.from, tt.port)
			}
			if frames := wrong.Frames(); len(frames) > 0 {
				t.Errorf("%d were sent through %s", len(frames), other.Name())
			}
		})
	}
}

func capture(t *testing.T, k *lab.Link, filter func([]byte) bool) *lab.Capture {
	t.Helper()
	c, err := k.Capture(filter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestSourceMark shows by a rule of the kernel's that packets carry their mark:
// marked ones, and no others, cannot be sent.
func TestSourceMark(t *testing.T) {
	s := newStreet(t)
	need.Program(t, "ip")
	labtest.Run(t, s.prober, "ip", "rule", "add", "fwmark", "7", "unreachable")
	labtest.Run(t, s.prober, "ip", "-6", "rule", "add", "fwmark", "0x80000001", "unreachable")
	marked := func(mark uint32) Source { return Source{Mark: mark, NetNS: s.prober.Path()} }
	unreachable := verdict{"", unix.ENETUNREACH}
	judge(t, TCP{Addr: s.addr, Source: marked(0)}, verdict{})
	judge(t, TCP{Addr: s.addr, Source: marked(8)}, verdict{})
	judge(t, TCP{Addr: s.addr, Source: marked(7)}, unreachable)
	judge(t, TCP{Addr: s.addr6, Source: marked(7)}, verdict{})
	judge(t, TCP{Addr: s.addr6, Source: marked(1<<31 | 1)}, unreachable)
}

// TestSourceOfPackets is for the sockets of UDP and ICMP.
func TestSourceOfPackets(t *testing.T) {
	s := newStreet(t)
	need.Program(t, "ip")
	labtest.Run(t, s.prober, "ip", "rule", "add", "fwmark", "7", "unreachable")
	source := Source{Addr: netip.MustParseAddr("10.0.0.2"), Port: 53, Device: "eth0", Mark: 8, NetNS: s.prober.Path()}
	c, err := source.dial(soon(t), "udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().String(); got != "10.0.0.2:53" {
		t.Errorf("sent from %s", got)
	}
	_, err = Source{Mark: 7, NetNS: s.prober.Path()}.dial(soon(t), "udp", s.addr)
	if !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("a marked connection: %v", err)
	}
	err = netns.Do(s.prober.Path(), func() error {
		fd, err := Source{Device: "eth1"}.socket(s.addr.Addr(), unix.SOCK_RAW, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		if device != "eth1" {
			t.Errorf("a raw socket is bound to %q", device)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSourceThatIsNotThere: nothing is known of the server then.
func TestSourceThatIsNotThere(t *testing.T) {
	s := newStreet(t)
	busy, err := s.prober.Listen("tcp", "10.0.0.1:1000")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tests := []struct {
		name   string
		source Source
		to     netip.AddrPort
		text   string
		is     error
	}{
		{"no such device", Source{Device: "eth9"}, s.addr, "send through eth9", fs.ErrNotExist},
		{"no such address", Source{Addr: netip.MustParseAddr("10.0.0.77")}, s.addr, "this machine does not have the address", unix.EADDRNOTAVAIL},
		{"a port in use", Source{Addr: netip.MustParseAddr("10.0.0.1"), Port: 1000}, s.addr, "another socket has the port", unix.EADDRINUSE},
		{"no such zone", Source{}, netip.MustParseAddrPort("[fe80::1%eth9]:80"), "zone eth9", fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.source.NetNS = s.prober.Path()
			_, err := TCP{Addr: tt.to, Source: tt.source}.Probe(soon(t))
			if !errors.Is(err, ErrInconclusive) || !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	for path, is := range map[string]error{"/nowhere/blue": fs.ErrNotExist, "/dev/null": fs.ErrInvalid} {
		_, err := TCP{Addr: s.addr, Source: Source{NetNS: path}}.Probe(soon(t))
		if !errors.Is(err, ErrInconclusive) || !errors.Is(err, is) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestNoWay: a server that cannot be reached has failed, whoever is at fault; what this
// machine drops on purpose or has no port for tells nothing.
func TestNoWay(t *testing.T) {
	s := newStreet(t)
	need.Program(t, "ip", "sysctl")
	for _, route := range []string{"unreachable 10.9.0.1", "prohibit 10.9.0.2", "blackhole 10.9.0.3"} {
		labtest.Run(t, s.prober, "ip", append([]string{"route", "add"}, strings.Fields(route)...)...)
	}
	probe := func(addr string) TCP {
		return TCP{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 80), Source: Source{NetNS: s.prober.Path()}}
	}
	judge(t, probe("192.0.2.1"), verdict{"network is unreachable", unix.ENETUNREACH})
	judge(t, probe("10.9.0.1"), verdict{"no route to host", unix.EHOSTUNREACH})
	judge(t, probe("10.9.0.2"), verdict{"permission denied", unix.EACCES})
	judge(t, probe("10.9.0.3"), verdict{"", ErrInconclusive}) // EINVAL

	labtest.Run(t, s.prober, "sysctl", "-w", "net.ipv4.ip_local_port_range=40000 40001")
	for port := uint16(40000); port <= 40001; port++ {
		busy, err := Source{NetNS: s.prober.Path(), Port: port}.dial(soon(t), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Close()
	}
	_, err := probe(s.addr.Addr().String()).Probe(soon(t))
	if !errors.Is(err, ErrInconclusive) || !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("without a free port: %v", err)
	}
}

// TestManyShareAPort: an address to send from must not cost a port for each
// connection, or 28,232 would be all that there are to all servers.
func TestManyShareAPort(t *testing.T) {
	s := newStreet(t)
	need.Program(t, "sysctl")
	labtest.Run(t, s.prober, "sysctl", "-w", "net.ipv4.ip_local_port_range=40000 40001")
	for _, server := range []string{"10.0.0.9:80", "10.0.0.10:80", "10.0.0.11:80"} {
		from := Source{NetNS: s.prober.Path(), Addr: netip.MustParseAddr("10.0.0.2")}
		c, err := from.dial(soon(t), "tcp", netip.MustParseAddrPort(server))
		if err != nil {
			t.Fatalf("%s: %v", server, err)
		}
		defer c.Close()
	}
}

// powerless calls fn on a thread without rights.
func powerless(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}

func TestSourceWithoutRights(t *testing.T) {
	addr := serve(t, hold)
	powerless(t, func() {
		judge(t, TCP{Addr: addr}, verdict{})
		_, err := TCP{Addr: addr, Source: Source{Mark: 7}}.Probe(soon(t))
		const text = "inconclusive: set mark 7: setsockopt: operation not permitted: it takes CAP_NET_ADMIN"
		if !errors.Is(err, ErrInconclusive) || !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), text) {
			t.Errorf("got %v", err)
		}
	})
}
