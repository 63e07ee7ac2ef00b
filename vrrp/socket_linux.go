package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// receiveBuffer is what may wait in a socket, in bytes as the kernel counts them:
// some 1,000 advertisements.
const receiveBuffer = 1 << 20

// prioControl is TC_PRIO_CONTROL of uapi linux/pkt_sched.h.
const prioControl = 7

// socket is a raw socket on one interface.
type socket struct {
	port  port
	index int
	fd    int
	vrids [256]bool
	group []netip.Addr
	frame int // AF_PACKET socket for frames from virtual MACs; -1 if none is needed
}

// needs is what a port has to hear.
type needs struct {
	vrids [256]bool
	group []netip.Addr
	frame bool
}

// openSocket opens the socket of a port on the interface with that index.
func openSocket(p port, index int, n needs) (_ *socket, err error) {
	s := &socket{port: p, index: index, fd: -1, frame: -1}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	family := unix.AF_INET
	if p.six {
		family = unix.AF_INET6
	}
	s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(p.protocol))
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The filter comes first, and lets nothing pass, so that nothing of other
	// interfaces is in the queue when the socket is ready.
	if err := s.attach([]bpf.RawInstruction{{Op: 0x06}}); err != nil {
		return nil, err
	}
	if err := unix.BindToDevice(s.fd, p.ifname); err != nil {
		return nil, os.NewSyscallError("SO_BINDTODEVICE", err)
	}
	if err := s.options(); err != nil {
		return nil, err
	}
	return s, s.adapt(n)
}

type option struct {
	level, name, value int
	text               string
}

// options sets what never changes.
func (s *socket) options() error {
	opts := []option{
		{unix.IPPROTO_IP, unix.IP_TTL, 255, "IP_TTL"},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 255, "IP_MULTICAST_TTL"},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP"},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL"},
		{unix.IPPROTO_IP, unix.IP_TOS, control, "IP_TOS"},
	}
	if s.port.six {
		opts = []option{
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255, "IPV6_UNICAST_HOPS"},
			{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255, "IPV6_MULTICAST_HOPS"},
			{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP"},
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, control, "IPV6_TCLASS"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT"},
		}
	}
	if s.port.protocol == protocolAH && !s.port.six {
		// the kernel then sends the identification 0, which the digest covers
		opts = append(opts, option{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, "IP_MTU_DISCOVER"})
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(s.fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt "+o.text, err)
		}
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // takes CAP_NET_ADMIN
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, prioControl)
	return nil
}

// adapt joins and leaves groups and sets the filter, as a port needs it.
func (s *socket) adapt(n needs) error {
	for _, g := range n.group {
		if !slices.Contains(s.group, g) {
			if err := s.membership(g, true); err != nil {
				return err
			}
		}
	}
	for _, g := range s.group {
		if !slices.Contains(n.group, g) {
			_ = s.membership(g, false)
		}
	}
	s.group = n.group
	if n.frame && s.frame < 0 {
		if err := s.openFrame(); err != nil {
			return err
		}
	}
	s.vrids = n.vrids
	prog, err := filter(s.port, &s.vrids)
	if err != nil {
		return fmt.Errorf("receive filter: %w", err)
	}
	return s.attach(prog)
}

// openFrame opens the AF_PACKET socket: of protocol 0, so that it receives nothing.
func (s *socket) openFrame() (err error) {
	s.frame, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		s.frame = -1
		return os.NewSyscallError("socket AF_PACKET", err)
	}
	_ = unix.SetsockoptInt(s.frame, unix.SOL_SOCKET, unix.SO_PRIORITY, prioControl)
	return nil
}

// membership joins or leaves a group.
func (s *socket) membership(group netip.Addr, join bool) error {
	var err error
	if s.port.six {
		name := unix.IPV6_JOIN_GROUP
		if !join {
			name = unix.IPV6_LEAVE_GROUP
		}
		err = unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, name, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(s.index)})
	} else {
		name := unix.IP_ADD_MEMBERSHIP
		if !join {
			name = unix.IP_DROP_MEMBERSHIP
		}
		err = unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, name, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(s.index)})
	}
	if err != nil && !errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("join %s on %s: %w", group, s.port.ifname, err)
	}
	return nil
}

// attach sets the receive filter.
func (s *socket) attach(prog []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	return os.NewSyscallError("SO_ATTACH_FILTER", err)
}

func (s *socket) close() {
	for _, fd := range []int{s.fd, s.frame} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
