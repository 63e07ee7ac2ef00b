package userspace

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// joinedMost is how many bytes are joined: with the headers of IPv6 and UDP no
// more than a packet of IP may have.
const joinedMost = 1<<16 - 1 - 40 - 8

// outbox are datagrams that go out by one socket at once. Those of one session
// and one size that follow each other are joined, and divided again as late as
// the kernel or the device can (UDP_SEGMENT): most of what a datagram costs is
// its way through the kernel, which they go together.
type outbox struct {
	n    int // messages
	used int // iovs
	msgs [batchMost]mmsghdr
	more [batchMost]outgoing
	iovs [batchMost]unix.Iovec
}

// outgoing is what there is to know of a message besides.
type outgoing struct {
	session  *udpSession
	size     int // bytes in all
	segment  int // bytes of the first datagram
	packets  int
	parts    int  // iovs
	complete bool // nothing may be joined
	control  control
}

// add adds the datagram in a slot of a batch, of a session. name is where it
// goes, nil if the socket is connected.
func (o *outbox) add(b *batch, i int, s *udpSession, name *unix.RawSockaddrInet6, length uint32) {
	v := &o.iovs[o.used]
	*v = b.iovs[i]
	o.used++
	size, segment := int(v.Len), int(b.segments[i])
	if o.n > 0 && segment == 0 && o.join(o.n-1, s, size) {
		return
	}
	m, to := &o.msgs[o.n], &o.more[o.n]
	o.n++
	m.Msghdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(name)), Namelen: length, Iov: v}
	m.SetIovlen(1)
	to.session, to.size, to.segment, to.packets, to.parts = s, size, size, b.packets(i), 1
	to.complete = size == 0 || s.apart
	if segment != 0 {
		to.segment, to.complete = segment, true
		to.divided(m)
	}
}

// join adds a datagram to the last message, if that may be.
func (o *outbox) join(last int, s *udpSession, size int) bool {
	m, to := &o.msgs[last], &o.more[last]
	if to.complete || to.session != s || size == 0 || size > to.segment || to.size+size > joinedMost {
		return false
	}
	to.size += size
	to.packets++
	to.parts++
	to.complete = size < to.segment // only the last may be smaller
	m.SetIovlen(to.parts)
	if to.parts == 2 {
		to.divided(m)
	}
	return true
}

// divided has the kernel divide a message.
func (to *outgoing) divided(m *mmsghdr) {
	c := &to.control
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(c.value[:], uint16(to.segment))
	m.Control = (*byte)(unsafe.Pointer(c))
	m.SetControllen(unix.CmsgSpace(2))
}

// send sends all, and empties the outbox. It returns how many datagrams could
// not be sent, as UDP may do with any of them: when the buffer of the socket is
// full the rest is dropped; a datagram that the kernel does not take is dropped
// (larger than IP allows, refused by a firewall); and what it tells of earlier
// ones (the port of the real server is closed) is counted in reported, and does
// not concern the one at hand.
func (o *outbox) send(fd int) (dropped, reported int) {
	again := false
	for at := 0; at < o.n; {
		n, errno := sendmmsg(fd, o.msgs[at:o.n])
		switch {
		case errno == 0:
			at, again = at+n, false
		case errno == unix.EAGAIN || errno == unix.ENOBUFS:
			for ; at < o.n; at++ {
				dropped += o.more[at].packets
			}
		case ofEarlier(errno) && !again:
			again = true
			reported++
		default:
			dropped += o.divide(fd, at)
			at, again = at+1, false
		}
	}
	o.n, o.used = 0, 0
	return dropped, reported
}

// divide sends the datagrams of a message one by one, and returns how many could
// not be sent. It is for what the kernel would not divide itself, as the path is
// too narrow for one; the session's are not joined any more.
func (o *outbox) divide(fd, at int) (dropped int) {
	m, to := &o.msgs[at], &o.more[at]
	if to.packets == 1 {
		return 1
	}
	to.session.apart = true
	for _, v := range unsafe.Slice(m.Iov, to.parts) {
		for data := unsafe.Slice(v.Base, v.Len); len(data) > 0; {
			n := min(to.segment, len(data))
			if sendto(fd, data[:n], m.Name, m.Namelen) != 0 {
				dropped++
			}
			data = data[n:]
		}
	}
	return dropped
}

// sendmmsg sends datagrams, and returns how many the kernel has taken. It does
// not wait.
func sendmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// ofEarlier tells whether an error is an ICMP message about what was sent
// before (net/ipv4/icmp.c, icmp_err_convert; net/ipv6/icmp.c, tab_unreach).
func ofEarlier(errno unix.Errno) bool {
	switch errno {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EPROTO, unix.EACCES, unix.EMSGSIZE:
		return true
	}
	return false
}

// sendto sends one datagram.
func sendto(fd int, data []byte, name *byte, size uint32) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(name)), uintptr(size))
		if errno != unix.EINTR {
			return errno
		}
	}
}
