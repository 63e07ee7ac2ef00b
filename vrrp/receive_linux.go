package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize  = 32
	packetSize = 4608 // 255 IPv6 addresses, authentication and IP header
	// room for in6_pktinfo, hop limit and time stamp, each with its head
	controlSize = 128
)

// batch is what one recvmmsg(2) has read, and the sockets that have more.
type batch struct {
	ready []*socket
	from  *socket
	next  int
	count int

	heads   [batchSize]unix.Mmsghdr
	iovecs  [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6 // of IPv4 too
	control [batchSize][controlSize]byte
	data    [batchSize][packetSize]byte
}

func newBatch() *batch {
	b := &batch{}
	for n := range b.heads {
		b.iovecs[n].Base = &b.data[n][0]
		b.iovecs[n].SetLen(packetSize)
		h := &b.heads[n].Hdr
		h.Iov = &b.iovecs[n]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[n]))
		h.Control = &b.control[n][0]
	}
	return b
}

// reset forgets sockets that may be closed.
func (b *batch) reset() {
	clear(b.ready)
	b.ready, b.from, b.next, b.count = b.ready[:0], nil, 0, 0
}

// receive takes the next packet of the batch, or of the next one.
func (k *kernel) receive(d *datagram) bool {
	b := k.batch
	for {
		for b.next < b.count {
			n := b.next
			b.next++
			if b.packet(n, d, k.woken) {
				k.taken++
				return true
			}
		}
		if b.count == batchSize { // there may be more in the same socket
			b.fill(b.from)
			continue
		}
		last := len(b.ready) - 1
		if last < 0 {
			b.next, b.count = 0, 0
			return false
		}
		b.from = b.ready[last]
		b.ready = b.ready[:last]
		b.fill(b.from)
	}
}

// fill reads what a socket has, as far as there is room. An error, such as that
// the interface is down, is no packet. The call never blocks: the scheduler of Go need
// not be told of it, whose watcher would wake up for it.
func (b *batch) fill(s *socket) {
	b.next, b.count = 0, 0
	for n := range b.heads {
		h := &b.heads[n].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.heads[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		b.count = int(n)
	}
}

// packet takes one of the batch apart.
func (b *batch) packet(n int, d *datagram, woken int64) bool {
	s, size := b.from, int(b.heads[n].Len)
	data := b.data[n][:min(size, packetSize)]
	d.port, d.age = s.port, 0
	d.header = header{protocol: s.port.protocol, hopLimit: -1}
	ok := true
	if s.port.six {
		d.payload = data
		d.header.src = netip.AddrFrom16(b.names[n].Addr)
	} else {
		ok = ipv4(data, d)
	}
	c := b.control[n][:b.heads[n].Hdr.Controllen]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || size > len(c) {
			break
		}
		ancillary(d, h, c[unix.CmsgLen(0):size], woken)
		c = c[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(c)):]
	}
	return ok
}

// ancillary takes one control message. The age is told of packets that were let
// wait; those that are older have met a thread that was asleep, and count as new.
func ancillary(d *datagram, h *unix.Cmsghdr, value []byte, woken int64) {
	switch {
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT && len(value) >= 4:
		d.header.hopLimit = int(binary.NativeEndian.Uint32(value))
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(value) >= unix.SizeofInet6Pktinfo:
		d.header.dst = netip.AddrFrom16([16]byte(value))
		d.header.multicast = d.header.dst.IsMulticast()
	case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(value) >= int(unsafe.Sizeof(unix.Timespec{})):
		age := time.Duration(woken - (*unix.Timespec)(unsafe.Pointer(&value[0])).Nano())
		if age > 0 && age <= 2*restMost {
			d.age = age
		}
	}
}

// ipv4 takes the IP header off.
func ipv4(data []byte, d *datagram) bool {
	if len(data) < 20 || data[0]>>4 != 4 {
		return false
	}
	size := int(data[0]&15) * 4
	if size < 20 || size > len(data) {
		return false
	}
	h := &d.header
	h.src, h.dst = netip.AddrFrom4([4]byte(data[12:])), netip.AddrFrom4([4]byte(data[16:]))
	h.hopLimit, h.multicast, h.ip = int(data[8]), h.dst.IsMulticast(), data[:size]
	d.payload = data[size:]
	return true
}
