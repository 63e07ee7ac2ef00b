//go:build !linux

package health

import (
	"net/netip"

	"golang.org/x/net/icmp"
)

// open opens a raw socket, or one for users where those are not allowed.
func (s *echoSocket) open(cfg PingerConfig) error {
	if err := cfg.Source.supported(); err != nil {
		return err
	}
	raw, user, local := "ip4:icmp", "udp4", "0.0.0.0"
	if s.six {
		raw, user, local = "ip6:ipv6-icmp", "udp6", "::"
	}
	if cfg.Source.Addr.IsValid() {
		local = cfg.Source.Addr.Unmap().String()
	}
	s.raw = true
	c, err := icmp.ListenPacket(raw, local)
	if err != nil {
		s.raw = false
		if c, err = icmp.ListenPacket(user, local); err != nil {
			return err
		}
	}
	if cfg.TTL != 0 && s.six {
		err = c.IPv6PacketConn().SetHopLimit(cfg.TTL)
	} else if cfg.TTL != 0 {
		err = c.IPv4PacketConn().SetTTL(cfg.TTL)
	}
	if err != nil {
		c.Close()
		return err
	}
	s.conn = c
	return nil
}

// drain would deliver what came in time; here it does not.
func (s *echoSocket) drain() {}

func (s Source) numeric(addr netip.Addr) (netip.Addr, error) { return addr, nil }

func staleSocket(error) bool { return false }
