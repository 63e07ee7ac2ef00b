package userspace

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchMost    = 64      // datagrams of one recvmmsg or sendmmsg
	datagramMost = 1 << 16 // bytes: no datagram, and nothing that the kernel has joined, is larger
)

// mmsghdr is the kernel's struct mmsghdr (include/linux/socket.h).
type mmsghdr struct {
	unix.Msghdr
	size uint32 // of the datagram that was received
}

// batch are datagrams on their way through a worker: the buffers, and what
// recvmmsg and sendmmsg are told about them. Memory for the buffers is taken
// by the kernel a page at a time, as datagrams fill it, and kept.
//
// A datagram may be several of one size that the kernel has joined (UDP_GRO),
// the last one perhaps smaller: then its segment is that size, else 0.
type batch struct {
	buf      []byte
	msgs     [batchMost]mmsghdr
	iovs     [batchMost]unix.Iovec
	names    [batchMost]unix.RawSockaddrInet6 // of either family
	controls [batchMost]control
	segments [batchMost]uint16
}

// control is a control message of a UDP socket: the size of the segments, an
// int when received and 16 bits when sent.
type control struct {
	unix.Cmsghdr
	value [8]byte
}

func newBatch() *batch {
	b := &batch{buf: make([]byte, batchMost*datagramMost)}
	for i := range b.msgs {
		b.iovs[i].Base = &b.buf[i*datagramMost]
		b.msgs[i].Iov = &b.iovs[i]
		b.msgs[i].SetIovlen(1)
	}
	return b
}

// data is the datagram in a slot.
func (b *batch) data(i int) []byte {
	return b.buf[i*datagramMost:][:b.msgs[i].size]
}

// packets is how many datagrams there are in a slot.
func (b *batch) packets(i int) int {
	if b.segments[i] == 0 {
		return 1
	}
	return (int(b.msgs[i].size) + int(b.segments[i]) - 1) / int(b.segments[i])
}

// receive fills the slots [from, to) as far as there are datagrams, and returns
// how many it has filled. It does not wait. With named it says who sent them.
func (b *batch) receive(fd, from, to int, named bool) (int, unix.Errno) {
	for i := from; i < to; i++ {
		m := &b.msgs[i]
		b.iovs[i].Base = &b.buf[i*datagramMost]
		b.iovs[i].SetLen(datagramMost)
		m.Name, m.Namelen = nil, 0
		if named {
			m.Name, m.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet6
		}
		m.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
		m.SetControllen(int(unsafe.Sizeof(control{})))
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.received(from, from+int(n))
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// received makes what was received ready to be sent.
func (b *batch) received(from, to int) {
	for i := from; i < to; i++ {
		m := &b.msgs[i]
		b.iovs[i].SetLen(int(m.size))
		b.segments[i] = 0
		m.Control = nil
		if m.Controllen != 0 {
			b.join(i)
		}
		m.SetControllen(0)
	}
}

// join makes what the kernel has said of the joined datagrams in a slot
// (UDP_GRO) what it is to be told when they are sent (UDP_SEGMENT).
func (b *batch) join(i int) {
	c := &b.controls[i]
	if c.Level != unix.SOL_UDP || c.Type != unix.UDP_GRO {
		return
	}
	if segment := binary.NativeEndian.Uint32(c.value[:]); segment < b.msgs[i].size {
		b.segments[i] = uint16(segment)
	}
}

// skip takes n bytes off the front of a slot, and tells whether any are left.
func (b *batch) skip(i, n int) bool {
	left := int(b.msgs[i].size) - n
	if left <= 0 {
		return false
	}
	b.iovs[i].Base = &b.buf[i*datagramMost+n]
	b.iovs[i].SetLen(left)
	if left <= int(b.segments[i]) {
		b.segments[i] = 0
	}
	return true
}

// segmented tells the kernel to divide the datagram in a slot.
func (b *batch) segmented(i int, m *mmsghdr) {
	c := &b.controls[i]
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(c.value[:], b.segments[i])
	m.Control = (*byte)(unsafe.Pointer(c))
	m.SetControllen(unix.CmsgSpace(2))
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

// sendAll sends datagrams, and returns how many could not be sent, as UDP may
// do with any of them:
// when the buffer of the socket is full the rest is dropped; a datagram that
// the kernel does not take is dropped (larger than the path allows, refused by
// a firewall); and what it tells of earlier ones (the port of the real server
// is closed) is counted in reported, and does not concern the one at hand.
func sendAll(fd int, msgs []mmsghdr) (dropped, reported int) {
	again := false
	for len(msgs) > 0 {
		n, errno := sendmmsg(fd, msgs)
		switch {
		case errno == 0:
			msgs, again = msgs[n:], false
		case errno == unix.EAGAIN || errno == unix.ENOBUFS:
			return dropped + len(msgs), reported
		case ofEarlier(errno) && !again:
			again = true
			reported++
		default:
			if !divide(fd, &msgs[0]) {
				dropped++
			}
			msgs, again = msgs[1:], false
		}
	}
	return dropped, reported
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

// divide sends joined datagrams one by one. It is for what the kernel would
// not divide itself: the path is too narrow for a segment, or a device on it
// cannot.
func divide(fd int, m *mmsghdr) bool {
	if m.Control == nil {
		return false
	}
	segment := int(binary.NativeEndian.Uint16((*control)(unsafe.Pointer(m.Control)).value[:]))
	data := unsafe.Slice(m.Iov.Base, m.Iov.Len)
	for len(data) > 0 {
		n := min(segment, len(data))
		sendto(fd, data[:n], m.Name, m.Namelen)
		data = data[n:]
	}
	return true
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
