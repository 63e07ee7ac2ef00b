package vrrp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize  = 16
	packetSize = 4608 // 255 IPv6 addresses, authentication and IP header
	// room for in6_pktinfo and the hop limit, each with its head
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
			if b.packet(n, d) {
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
// the interface is down, is no packet.
func (b *batch) fill(s *socket) {
	b.next, b.count = 0, 0
	for n := range b.heads {
		h := &b.heads[n].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.heads[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		b.count = int(n)
	}
}

// packet takes one of the batch apart.
func (b *batch) packet(n int, d *datagram) bool {
	s, size := b.from, int(b.heads[n].Len)
	data := b.data[n][:min(size, packetSize)]
	d.port = s.port
	d.header = header{protocol: s.port.protocol, hopLimit: -1}
	if !s.port.six {
		return ipv4(data, d)
	}
	d.payload = data
	d.header.src = netip.AddrFrom16(b.names[n].Addr)
	c := b.control[n][:b.heads[n].Hdr.Controllen]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(c) {
			break
		}
		value := c[unix.CmsgLen(0):size]
		switch {
		case h.Level != unix.IPPROTO_IPV6:
		case h.Type == unix.IPV6_HOPLIMIT && len(value) >= 4:
			d.header.hopLimit = int(binary.NativeEndian.Uint32(value))
		case h.Type == unix.IPV6_PKTINFO && len(value) >= unix.SizeofInet6Pktinfo:
			d.header.dst = netip.AddrFrom16([16]byte(value))
			d.header.multicast = d.header.dst.IsMulticast()
		}
		c = c[min(unix.CmsgSpace(len(value)), len(c)):]
	}
	return true
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
