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
		size := b.msgs[i].size
		b.iovs[i].SetLen(int(size))
		b.segments[i] = 0
		c := &b.controls[i]
		if b.msgs[i].Controllen == 0 || c.Level != unix.SOL_UDP || c.Type != unix.UDP_GRO {
			continue
		}
		if segment := binary.NativeEndian.Uint32(c.value[:]); segment < size {
			b.segments[i] = uint16(segment)
		}
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
