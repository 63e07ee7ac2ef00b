package userspace

import (
	"encoding/binary"
	"net/netip"
)

// The PROXY protocol, version 2 (HAProxy, doc/proxy-protocol.txt, section 2.2):
// a header in front of a connection's data that says between whom it is.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

	proxyLocal   = 0x20 // version and command: the connection is the sender's own
	proxyForward = 0x21 // version and command: it is forwarded for another

	proxyIPv4     = 0x10
	proxyIPv6     = 0x20
	proxyStream   = 0x01
	proxyDatagram = 0x02
)

// appendProxy appends the header of a connection from client to virtual, which
// is the address that the client called. stream is TCP, else UDP.
//
// The family is that of the client's connection, whichever that of the
// connection to the real server is. IPv4 goes as such, also where the socket
// called it ::ffff:192.0.2.1; one of each family goes as IPv6. Without both
// addresses the header tells the real server to believe what it sees.
func appendProxy(b []byte, client, virtual netip.AddrPort, stream bool) []byte {
	b = append(b, proxySignature...)
	source, destination := client.Addr().Unmap(), virtual.Addr().Unmap()
	if !source.IsValid() || !destination.IsValid() {
		return append(b, proxyLocal, 0, 0, 0)
	}
	transport := byte(proxyDatagram)
	if stream {
		transport = proxyStream
	}
	if source.Is4() && destination.Is4() {
		b = append(b, proxyForward, proxyIPv4|transport, 0, 4+4+2+2)
		s, d := source.As4(), destination.As4()
		b = append(append(b, s[:]...), d[:]...)
	} else {
		b = append(b, proxyForward, proxyIPv6|transport, 0, 16+16+2+2)
		s, d := source.As16(), destination.As16()
		b = append(append(b, s[:]...), d[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, client.Port())
	return binary.BigEndian.AppendUint16(b, virtual.Port())
}
