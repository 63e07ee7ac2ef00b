package vrrp

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sender has what sendmsg(2) takes, so that nothing is allocated.
type sender struct {
	head    unix.Msghdr
	iovec   unix.Iovec
	name4   unix.RawSockaddrInet4
	name6   unix.RawSockaddrInet6
	link    unix.RawSockaddrLinklayer
	control [64]byte
	frame   []byte
}

// send sends from the wanted address, which IP_PKTINFO or IPV6_PKTINFO says.
func (k *kernel) send(o *outgoing) error {
	s := k.sockets[o.port]
	if s == nil {
		return unix.ENETDOWN
	}
	out := &k.out
	out.head = unix.Msghdr{}
	out.head.Iov = &out.iovec
	out.head.SetIovlen(1)
	switch {
	case o.frame && s.frame >= 0:
		out.toLink(s, o)
		return out.do(s.frame, out.frame)
	case o.port.six:
		out.to6(s, o)
	default:
		out.to4(s, o)
	}
	return out.do(s.fd, o.payload)
}

func (out *sender) do(fd int, data []byte) error {
	out.iovec.Base = &data[0]
	out.iovec.SetLen(len(data))
	_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&out.head)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return os.NewSyscallError("sendmsg", errno)
	}
	return nil
}

func (out *sender) to4(s *socket, o *outgoing) {
	out.name4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: o.dst.As4()}
	out.head.Name = (*byte)(unsafe.Pointer(&out.name4))
	out.head.Namelen = unix.SizeofSockaddrInet4
	info := out.ancillary(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	binary.NativeEndian.PutUint32(info, uint32(s.index))
	src := o.src.As4()
	copy(info[4:], src[:])
}

func (out *sender) to6(s *socket, o *outgoing) {
	out.name6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: o.dst.As16()}
	if o.dst.IsLinkLocalUnicast() || o.dst.IsLinkLocalMulticast() {
		out.name6.Scope_id = uint32(s.index)
	}
	out.head.Name = (*byte)(unsafe.Pointer(&out.name6))
	out.head.Namelen = unix.SizeofSockaddrInet6
	info := out.ancillary(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	src := o.src.As16()
	copy(info, src[:])
	binary.NativeEndian.PutUint32(info[16:], uint32(s.index))
}

func (out *sender) toLink(s *socket, o *outgoing) {
	out.frame = appendFrame(out.frame[:0], o)
	out.link = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(s.index), Halen: 6}
	proto := []byte{out.frame[12], out.frame[13]}
	out.link.Protocol = binary.NativeEndian.Uint16(proto)
	copy(out.link.Addr[:], out.frame[:6])
	out.head.Name = (*byte)(unsafe.Pointer(&out.link))
	out.head.Namelen = unix.SizeofSockaddrLinklayer
}

// ancillary prepares one control message and returns its data, zeroed.
func (out *sender) ancillary(level, kind int32, size int) []byte {
	clear(out.control[:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&out.control[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	out.head.Control = &out.control[0]
	out.head.SetControllen(unix.CmsgSpace(size))
	return out.control[unix.CmsgLen(0):unix.CmsgLen(size)]
}
