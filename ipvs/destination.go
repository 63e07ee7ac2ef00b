package ipvs

import "net/netip"

// Destination is a real server of a virtual service, as wanted. Within a
// service its Addr names it.
type Destination struct {
	// Addr is the real server. Its port is that of the service unless Forward
	// is ForwardMasq: only address translation can change a port. Its family
	// may differ from the service's only with ForwardTunnel. Port 0 goes with
	// a firewall mark or with a service of port 0.
	Addr    netip.AddrPort
	Forward Forward // zero: ForwardRoute, the default of ipvsadm

	// Weight is the share of new connections relative to the other
	// destinations, 0 to 2147483647. Zero is quiescent: established
	// connections stay, new ones go elsewhere. There is no default: 1 is the
	// usual value.
	Weight int

	// Upper and Lower are connection thresholds: at Upper connections the
	// server gets no new ones until they fall below Lower. Zero is no bound;
	// a Lower of zero with an Upper stands for three quarters of it. Lower
	// must not be above Upper, nor Upper above 2147483647.
	Upper, Lower uint32

	Tunnel Tunnel // of ForwardTunnel; zero: IPIP
}

// Tunnel is how ForwardTunnel wraps packets for a real server.
type Tunnel struct {
	Type  TunnelType  // zero: IPIP
	Port  uint16      // destination UDP port of GUE, which needs one; else zero
	Flags TunnelFlags // checksums of GUE and GRE
}

// TunnelFlags are the switches of GUE and GRE tunnels
// (include/uapi/linux/ip_vs.h, IP_VS_TUNNEL_ENCAP_FLAG_*). Zero is no checksum.
type TunnelFlags uint16

const (
	TunnelCsum    TunnelFlags = 1 // checksum in the outer header
	TunnelRemCsum TunnelFlags = 2 // remote checksum offload, GUE only
)
