package health

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// echoBuffer is room for the answers that come while nobody reads.
const echoBuffer = 4 << 20

// open opens a raw socket, or a ping socket where those are not allowed.
func (s *echoSocket) open(cfg PingerConfig) error {
	return netns.Do(cfg.Source.NetNS, func() error {
		err := s.openKind(cfg, unix.SOCK_RAW)
		if !errors.Is(err, unix.EPERM) {
			return err
		}
		err = s.openKind(cfg, unix.SOCK_DGRAM)
		if errors.Is(err, unix.EACCES) {
			return fmt.Errorf("%w: it takes CAP_NET_RAW, or a group in net.ipv4.ping_group_range", err)
		}
		return err
	})
}

func (s *echoSocket) openKind(cfg PingerConfig, kind int) error {
	like, protocol := netip.IPv4Unspecified(), unix.IPPROTO_ICMP
	if s.six {
		like, protocol = netip.IPv6Unspecified(), unix.IPPROTO_ICMPV6
	}
	fd, err := cfg.Source.socket(like, kind, protocol)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "icmp")
	defer file.Close()
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, echoBuffer) != nil { // takes CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, echoBuffer) // as much as we may have
	}
	s.raw = kind == unix.SOCK_RAW
	c, err := net.FilePacketConn(file)
	if err != nil {
		return err
	}
	if err := s.prepare(c, cfg.TTL); err != nil {
		c.Close()
		return err
	}
	conn, ok := c.(echoConn)
	if !ok {
		c.Close()
		return fmt.Errorf("the socket is a %T", c)
	}
	s.conn = conn
	return nil
}

// prepare sets the TTL, and the filter.
func (s *echoSocket) prepare(c net.PacketConn, ttl int) error {
	var err error
	if s.six {
		p := ipv6.NewPacketConn(c)
		if ttl != 0 {
			err = p.SetHopLimit(ttl)
		}
		if s.raw {
			err = errors.Join(err, p.SetBPF(s.filter()))
		}
		return err
	}
	p := ipv4.NewPacketConn(c)
	if ttl != 0 {
		err = p.SetTTL(ttl)
	}
	if s.raw {
		err = errors.Join(err, p.SetBPF(s.filter()))
	}
	return err
}

// filter passes echo replies with our ID: a raw socket is given all messages of ICMP
// that come to the machine.
func (s *echoSocket) filter() []bpf.RawInstruction {
	program := []bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X is the size of the IPv4 header, which is there
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply4, SkipFalse: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(s.id), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 17},
		bpf.RetConstant{Val: 0},
	}
	if s.six { // it is not
		program[0], program[2] = bpf.LoadConstant{Dst: bpf.RegX}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply6, SkipFalse: 3}
	}
	raw, _ := bpf.Assemble(program) // a constant program has no error
	return raw
}

// drain delivers what is there, without waiting.
func (s *echoSocket) drain() {
	c, ok := s.conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, s.pinger.cfg.Size+128)
	_ = raw.Control(func(fd uintptr) { // fails once it is closed
		for range 1 << 16 {
			n, from, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				return
			}
			switch from := from.(type) {
			case *unix.SockaddrInet4:
				b := buf[:n]
				if s.raw && n > 0 { // with the header
					b = b[min(int(b[0]&0xf)*4, n):]
				}
				s.deliver(b, netip.AddrFrom4(from.Addr))
			case *unix.SockaddrInet6:
				s.deliver(buf[:n], netip.AddrFrom16(from.Addr))
			}
		}
	})
}

// numeric names the zone of an address by its number: as of the namespace that is
// sent from.
func (s Source) numeric(addr netip.Addr) (netip.Addr, error) {
	if addr.Zone() == "" {
		return addr, nil
	}
	err := netns.Do(s.NetNS, func() error {
		sa, err := sockaddr(netip.AddrPortFrom(addr, 0))
		if six, ok := sa.(*unix.SockaddrInet6); ok && err == nil {
			addr = addr.WithZone(strconv.FormatUint(uint64(six.ZoneId), 10))
		}
		return err
	})
	return addr, err
}

// staleSocket tells whether a socket is bound to a device that has gone. Another of
// the same name has another number.
func staleSocket(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) }
