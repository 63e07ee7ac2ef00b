package nat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire is a gateway whose cables end in the test: its interfaces are TUN devices, so
// that the test is all the machines around it, sees what comes out of each as it
// is on the wire, and answers it. The kernel is done with a packet when the write of
// it returns, so that one that went nowhere need not be waited for.
type wire struct {
	t       testing.TB
	host    *lab.Host
	machine machine
	cables  map[string]int // descriptors by interface
	local   []socket       // what the gateway takes itself
	send    map[bool]int   // the gateway's own packets, by being IPv6
	tracked *netlink.Handle
	next    map[Ports]uint16 // ports that have not been used, by their range
	tag     uint64
	seen    []sighting
	buffer  []byte
}

// socket is a raw socket of a protocol. One of IPv6 has no header of it.
type socket struct {
	fd       int
	protocol Protocol
	v6       bool
}

// sighting is a packet that came out.
type sighting struct {
	frame
	at string
}

func newWire(t testing.TB) *wire {
	t.Helper()
	if need.Emulated() {
		need.Module(t, "tun", "nf_nat")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		withoutTUN(t, err)
	}
	w := &wire{
		t: t, host: labtest.Host(t, labtest.New(t), "gateway"), machine: gateway, cables: map[string]int{}, send: map[bool]int{},
		next: map[Ports]uint16{}, tag: rand.Uint64() | 1, buffer: make([]byte, 2048),
	}
	must(t, w.host.Forward())
	must(t, w.host.Do(func() error {
		for _, n := range w.machine.nics {
			if err := w.plug(n); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
		}
		for _, p := range w.machine.lost {
			if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(p), Type: unix.RTN_BLACKHOLE}); err != nil {
				return fmt.Errorf("lose %s: %w", p, err)
			}
		}
		for _, v6 := range []bool{false, true} {
			if err := w.listen(v6); err != nil {
				return err
			}
		}
		var err error
		w.tracked, err = netlink.NewHandle(unix.NETLINK_NETFILTER)
		return err
	}))
	t.Cleanup(w.tracked.Close)
	return w
}

func withoutTUN(t testing.TB, err error) {
	t.Helper()
	if need.Emulated() {
		t.Fatal(err)
	}
	t.Skipf("the test needs TUN devices: %v", err)
}

// plug makes an interface with its addresses; the last one has the default routes.
func (w *wire) plug(n nic) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		withoutTUN(w.t, err)
	}
	if err != nil {
		return err
	}
	w.closeLater(fd)
	req, err := unix.NewIfreq(n.name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return err
	}
	w.cables[n.name] = fd
	link, err := netlink.LinkByName(n.name)
	if err != nil {
		return err
	}
	for _, p := range n.addrs {
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	if n.name != w.machine.nics[len(w.machine.nics)-1].name {
		return nil
	}
	for _, p := range prefixes("0.0.0.0/0", "::/0") {
		if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(p), LinkIndex: link.Attrs().Index}); err != nil {
			return fmt.Errorf("default route: %w", err)
		}
	}
	return nil
}

func (w *wire) closeLater(fd int) { w.t.Cleanup(func() { unix.Close(fd) }) }

// listen opens raw sockets for the gateway's own packets.
func (w *wire) listen(v6 bool) error {
	family, icmp := unix.AF_INET, icmp4
	if v6 {
		family, icmp = unix.AF_INET6, icmp6
	}
	for _, p := range []Protocol{TCP, UDP, SCTP, icmp, gre} {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(p))
		if err != nil {
			return err
		}
		w.closeLater(fd)
		if v6 {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		if err != nil {
			return err
		}
		w.local = append(w.local, socket{fd, p, v6})
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err == nil {
		w.closeLater(fd)
		w.send[v6] = fd
	}
	return err
}

// put sends a packet from an interface's cable, or from the gateway itself.
func (w *wire) put(f frame) error {
	b := f.encode()
	if f.in != here {
		_, err := unix.Write(w.cables[f.in], b)
		return err
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: f.dst.Addr().As16()}
	if !f.v6() {
		to = &unix.SockaddrInet4{Addr: f.dst.Addr().As4()}
	}
	return unix.Sendto(w.send[f.v6()], b, 0, to)
}

// await takes the packet that has a tag and goes in this direction. An answer of the
// kernel itself has no tag, but the addresses that it ought to have.
func (w *wire) await(want frame, patience time.Duration) (sighting, bool) {
	for end := time.Now().Add(patience); ; {
		w.look()
		for i, s := range w.seen {
			if s.tag == want.tag && s.direction == want.direction ||
				s.tag == 0 && s.direction == want.direction && s.src == want.src && s.dst == want.dst {
				w.seen = append(w.seen[:i], w.seen[i+1:]...)
				return s, true
			}
		}
		if time.Now().After(end) {
			return sighting{}, false
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// look takes all that came out.
func (w *wire) look() {
	for at, fd := range w.cables {
		for {
			n, err := unix.Read(fd, w.buffer)
			if err != nil {
				break
			}
			if f, ok := decodeFrame(w.buffer[:n]); ok {
				if f.bad {
					w.t.Errorf("%s has a wrong checksum at %s", f.packet, at)
				}
				w.seen = append(w.seen, sighting{f, at})
			}
		}
	}
	for _, s := range w.local {
		for f, ok := s.read(w.buffer); ok; f, ok = s.read(w.buffer) {
			if f.protocol != 0 {
				w.seen = append(w.seen, sighting{f, here})
			}
		}
	}
}

// read takes one packet; its protocol is 0 if it is none of the tests'.
func (s socket) read(b []byte) (f frame, ok bool) {
	if !s.v6 {
		n, err := unix.Read(s.fd, b)
		if err != nil {
			return f, false
		}
		if f, ok := decodeFrame(b[:n]); ok {
			return f, true
		}
		return frame{}, true
	}
	control := make([]byte, 64)
	n, controls, _, from, err := unix.Recvmsg(s.fd, b, control, 0)
	if err != nil {
		return f, false
	}
	info, err := unix.ParseSocketControlMessage(control[:controls])
	src, is6 := from.(*unix.SockaddrInet6)
	if err != nil || len(info) != 1 || len(info[0].Data) < 16 || !is6 {
		return frame{}, true
	}
	dst := netip.AddrFrom16([16]byte(info[0].Data))
	if f, ok := decodeBody(s.protocol, netip.AddrFrom16(src.Addr), dst, b[:n]); ok {
		return f, true
	}
	return frame{}, true
}

// probe sends the first packet of a connection, tells where it arrives, and answers it
// from there: the error is that the answer did not come back as the client waits for
// it, or that something came twice.
func (w *wire) probe(p packet, patience time.Duration) (arrival, error) {
	if p.protocol == gre {
		w.forget() // all packets between two addresses are one connection
	}
	w.tag += 2
	if err := w.put(frame{packet: p, tag: w.tag, direction: request}); err != nil && p.in != here {
		return arrival{}, fmt.Errorf("send: %w", err)
	}
	s, ok := w.await(frame{tag: w.tag, direction: request}, patience)
	if !ok {
		return arrival{}, nil
	}
	got := arrival{at: s.at, src: s.src, dst: s.dst}
	back := packet{protocol: p.protocol, src: p.dst, dst: p.src}
	if echoes(p.protocol) {
		back.src, back.dst = netip.AddrPortFrom(p.dst.Addr(), 0), p.src
	}
	wanted := frame{packet: back, tag: w.tag, direction: answer}
	if s.at != here || p.protocol != TCP && !echoes(p.protocol) { // else the kernel answers
		reply := frame{packet: packet{p.protocol, s.at, s.dst, s.src}, tag: w.tag, direction: answer}
		if err := w.put(reply); err != nil {
			return got, fmt.Errorf("answer %s: %w", reply.packet, err)
		}
	}
	a, ok := w.await(wanted, time.Second)
	switch {
	case !ok:
		return got, errors.New("the answer did not come back")
	case a.at != p.in || a.src != back.src || a.dst != back.dst:
		return got, fmt.Errorf("the answer came back as %s by %s", a.packet, a.at)
	}
	for _, s := range w.seen {
		if s.tag == w.tag {
			return got, fmt.Errorf("it also came out as %s by %s", s.packet, s.at)
		}
	}
	w.seen = w.seen[:0]
	return got, nil
}

// agree compares what becomes of a packet with what the model says of these rules.
func (w *wire) agree(list []Rule, p packet) error {
	want, _ := w.machine.deliver(list, p)
	patience := time.Duration(0)
	if want.at != "" {
		patience = time.Second
	}
	got, err := w.probe(p, patience)
	if err == nil && !got.is(want) {
		err = fmt.Errorf("arrived: %s", got)
	}
	if err != nil {
		return fmt.Errorf("%s: %w, want %s", p, err, want)
	}
	return nil
}

// fresh gives a packet a source port that no packet before had.
func (w *wire) fresh(p packet) packet {
	if p.protocol == gre {
		return p
	}
	ports := lowPorts
	if p.src.Port() >= highPorts.First {
		ports = highPorts
	}
	n, ok := w.next[ports]
	if !ok || n == ports.Last {
		w.forget()
		n = ports.First
	}
	w.next[ports] = n + 1
	p.src = withPort(p.src, n)
	return p
}

// forget ends all connections that conntrack knows.
func (w *wire) forget() { must(w.t, w.tracked.ConntrackTableFlush(netlink.ConntrackTable)) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: mask(p)}
}

// patience is how long to wait for what has to come out.
func patience(want arrival) time.Duration {
	if want.at == "" {
		return 0
	}
	return time.Second
}
