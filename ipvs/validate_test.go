package ipvs

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// validService is a TCP service with two real servers, changed by edit.
func validService(edit func(*Service)) Service {
	s := Service{
		ID:        ServiceID{Protocol: TCP, Addr: netip.MustParseAddrPort("192.0.2.1:80")},
		Scheduler: RR,
		Destinations: []Destination{
			{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1},
			{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 1},
		},
	}
	edit(&s)
	return s
}

// addr sets the address of the service, and of its real servers the port.
func addr(a string) func(*Service) {
	return func(s *Service) {
		s.ID.Addr = netip.MustParseAddrPort(a)
		for i, d := range s.Destinations {
			s.Destinations[i].Addr = netip.AddrPortFrom(d.Addr.Addr(), s.ID.Addr.Port())
		}
	}
}

// server changes the second real server.
func server(edit func(*Destination)) func(*Service) {
	return func(s *Service) { edit(&s.Destinations[1]) }
}

func serverAddr(a string) func(*Service) {
	return server(func(d *Destination) { d.Addr = netip.MustParseAddrPort(a) })
}

func persistent(p Persistence) func(*Service) {
	return func(s *Service) { s.Persistence = p }
}

func tunnel(t Tunnel) func(*Service) {
	return server(func(d *Destination) { d.Forward, d.Tunnel = ForwardTunnel, t })
}

func mark(m uint32, f Family) func(*Service) {
	return func(s *Service) { s.ID = ServiceID{FWMark: m, Family: f} }
}

func all(edits ...func(*Service)) func(*Service) {
	return func(s *Service) {
		for _, edit := range edits {
			edit(s)
		}
	}
}

func masq(d *Destination) { d.Forward = ForwardMasq }

// v6 makes the service and its real servers IPv6.
func v6(s *Service) {
	s.ID.Addr = netip.MustParseAddrPort("[fd00::5]:80")
	s.Destinations[0].Addr = netip.MustParseAddrPort("[fd00::1]:80")
	s.Destinations[1].Addr = netip.MustParseAddrPort("[fd00::2]:80")
}

// validServices are what Validate and the kernel take, but for names of
// schedulers and engines that no kernel has.
var validServices = map[string]func(*Service){
	"a plain service":                           func(*Service) {},
	"an IPv6 service":                           v6,
	"no real servers":                           func(s *Service) { s.Destinations = nil },
	"the default scheduler":                     func(s *Service) { s.Scheduler = "" },
	"no scheduler":                              func(s *Service) { s.Scheduler = NoScheduler },
	"a scheduler name of 15 bytes":              func(s *Service) { s.Scheduler = "abcdefghij_-.09" },
	"weight 0":                                  server(func(d *Destination) { d.Weight = 0 }),
	"weight 65537":                              server(func(d *Destination) { d.Weight = 65537 }),
	"the highest weight":                        server(func(d *Destination) { d.Weight = math.MaxInt32 }),
	"the highest thresholds":                    server(func(d *Destination) { d.Upper, d.Lower = math.MaxInt32, math.MaxInt32 }),
	"an upper threshold alone":                  server(func(d *Destination) { d.Upper = 1 }),
	"NAT to another port":                       all(serverAddr("10.0.0.2:8080"), server(masq)),
	"the director as real server":               server(func(d *Destination) { d.Forward = ForwardLocal }),
	"a loopback service":                        addr("127.0.0.1:80"),
	"a loopback real server":                    serverAddr("127.0.0.1:80"),
	"a mapped address":                          addr("[::ffff:192.0.2.1]:80"),
	"a firewall mark":                           mark(1, IPv4),
	"a firewall mark and any port":              all(mark(1, IPv4), serverAddr("10.0.0.2:0")),
	"the highest mark, IPv6":                    all(v6, mark(math.MaxUint32, IPv6)),
	"every port":                                all(addr("192.0.2.1:0"), persistent(Persistence{Timeout: time.Second})),
	"every port and one of the real server":     all(addr("192.0.2.1:0"), persistent(Persistence{Timeout: time.Second}), serverAddr("10.0.0.2:81")),
	"31 days of persistence":                    persistent(Persistence{Timeout: 31 * 24 * time.Hour}),
	"mask 1":                                    persistent(Persistence{Timeout: time.Second, Mask: 1}),
	"mask 32":                                   persistent(Persistence{Timeout: time.Second, Mask: 32}),
	"all clients at once":                       persistent(Persistence{Timeout: time.Second, Mask: MaskAll}),
	"mask 128 of IPv6":                          all(v6, persistent(Persistence{Timeout: time.Second, Mask: 128})),
	"sip over UDP":                              all(func(s *Service) { s.ID.Protocol = UDP }, persistent(Persistence{Timeout: time.Second, Engine: "sip"})),
	"an engine name of 16 bytes":                persistent(Persistence{Timeout: time.Second, Engine: strings.Repeat("x", 16)}),
	"one packet over UDP":                       func(s *Service) { s.ID.Protocol = UDP; s.Flags = OnePacket },
	"one packet of a mark":                      all(mark(1, IPv4), func(s *Service) { s.Flags = OnePacket | SchedFlag1 | SchedFlag2 | SchedFlag3 }),
	"SCTP":                                      func(s *Service) { s.ID.Protocol = SCTP },
	"IPIP":                                      tunnel(Tunnel{}),
	"GUE":                                       tunnel(Tunnel{Type: GUE, Port: 6080}),
	"GUE with remote checksums":                 tunnel(Tunnel{Type: GUE, Port: 6080, Flags: TunnelRemCsum}),
	"GRE with checksums":                        tunnel(Tunnel{Type: GRE, Flags: TunnelCsum}),
	"an IPv6 tunnel of an IPv4 service":         all(serverAddr("[fd00::2]:80"), tunnel(Tunnel{})),
	"an IPv4 tunnel of an IPv6 service":         all(v6, serverAddr("10.0.0.2:80"), tunnel(Tunnel{})),
	"an IPv6 tunnel of an IPv4 mark":            all(mark(1, IPv4), serverAddr("[fd00::2]:80"), tunnel(Tunnel{})),
	"one address on two ports":                  all(serverAddr("10.0.0.1:81"), server(masq)),
	"a mapped real server of an IPv4 service":   serverAddr("[::ffff:10.0.0.9]:80"),
	"a link-local service, without a zone":      all(v6, addr("[fe80::1]:80")),
	"a network address: the kernel takes it":    serverAddr("10.0.0.0:80"),
	"an address of class E: it is unicast, too": serverAddr("240.0.0.1:80"),
}

func TestValidateTakesWhatTheKernelDoes(t *testing.T) {
	for name, edit := range validServices {
		t.Run(name, func(t *testing.T) {
			if err := validService(edit).Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Service)
		text string // of the error, with what to do
	}{
		{"neither protocol nor mark", func(s *Service) { s.ID.Protocol = 0 }, "set Protocol to TCP, UDP or SCTP, or set FWMark"},
		{"another protocol", func(s *Service) { s.ID.Protocol = 1 }, "protocol 1 cannot be balanced: use TCP"},
		{"a mark with an address", func(s *Service) { s.ID.Protocol = 0; s.ID.FWMark = 1 }, "leave Protocol and Addr zero, or FWMark"},
		{"a mark with a protocol", all(mark(1, IPv4), func(s *Service) { s.ID.Protocol = TCP }), "leave Protocol and Addr zero"},
		{"an unknown family", mark(1, 2), "unknown family 2: use IPv4 or IPv6"},
		{"a family with an address", all(v6, func(s *Service) { s.ID.Family = IPv6 }), "leave it zero"},
		{"no address", func(s *Service) { s.ID.Addr = netip.AddrPort{} }, "the service has no address: set Addr"},
		{"a zone", all(v6, addr("[fe80::1%eth0]:80")), `zone "eth0"`},
		{"the unspecified address", addr("0.0.0.0:80"), "or a firewall mark"},
		{"the unspecified IPv6 address", all(v6, addr("[::]:80")), "or a firewall mark"},
		{"a multicast service", addr("224.0.0.1:80"), "use a unicast one"},
		{"a broadcast service", addr("255.255.255.255:80"), "use a unicast one"},
		{"every port without persistence", addr("192.0.2.1:0"), "set Persistence.Timeout, or a port"},
		{"a scheduler name of 16 bytes", func(s *Service) { s.Scheduler = "abcdefghijklmnop" }, "longer than 15 bytes"},
		{"a scheduler with a line break", func(s *Service) { s.Scheduler = "rr\n-C" }, "is no module's name"},
		{"a scheduler with a zero byte", func(s *Service) { s.Scheduler = "rr\x00" }, "is no module's name"},
		{"a scheduler like an option", func(s *Service) { s.Scheduler = "-p" }, "is no module's name"},
		{"the kernel's flags", func(s *Service) { s.Flags = 3 }, "unknown flags 0x3"},
		{"one packet over TCP", func(s *Service) { s.Flags = OnePacket }, "OnePacket is for UDP, this service is TCP: drop the flag"},
		{"half a second", persistent(Persistence{Timeout: 1500 * time.Millisecond}), "use whole seconds from 1 s to 31 days"},
		{"less than a second", persistent(Persistence{Timeout: time.Nanosecond}), "use whole seconds"},
		{"a negative time", persistent(Persistence{Timeout: -time.Second}), "use whole seconds"},
		{"more than 31 days", persistent(Persistence{Timeout: 31*24*time.Hour + time.Second}), "31 days"},
		{"a mask without persistence", persistent(Persistence{Mask: 24}), "set Persistence.Timeout"},
		{"an engine without persistence", persistent(Persistence{Engine: "sip"}), "set Persistence.Timeout"},
		{"an engine name of 17 bytes", persistent(Persistence{Timeout: time.Second, Engine: strings.Repeat("x", 17)}), "longer than 16 bytes"},
		{"an engine with a blank", persistent(Persistence{Timeout: time.Second, Engine: "s p"}), "is no module's name"},
		{"sip over TCP", persistent(Persistence{Timeout: time.Second, Engine: "sip"}), "use a UDP service"},
		{"mask 33", persistent(Persistence{Timeout: time.Second, Mask: 33}), "use 1 to 32"},
		{"mask -2", persistent(Persistence{Timeout: time.Second, Mask: -2}), "use 1 to 32"},
		{"mask 129 of IPv6", all(v6, persistent(Persistence{Timeout: time.Second, Mask: 129})), "use 1 to 128"},
		{"all clients of IPv6", all(v6, persistent(Persistence{Timeout: time.Second, Mask: MaskAll})), "use 1 to 128"},
		{"a real server without an address", server(func(d *Destination) { d.Addr = netip.AddrPort{} }), "the real server has no address"},
		{"a real server with a zone", all(v6, serverAddr("[fe80::1%eth0]:80")), `zone "eth0"`},
		{"a link-local real server", all(v6, serverAddr("[fe80::1]:80")), "use a global or unique local address"},
		{"an unspecified real server", serverAddr("0.0.0.0:80"), "use its own address"},
		{"a multicast real server", serverAddr("224.0.0.1:80"), "use a unicast one"},
		{"an IPv6 multicast real server", all(v6, serverAddr("[ff02::1]:80")), "use a unicast one"},
		{"a broadcast real server", serverAddr("255.255.255.255:80"), "use a unicast one"},
		{"bypass", server(func(d *Destination) { d.Forward = ForwardBypass }), "forwarding Bypass cannot be configured"},
		{"unknown forwarding", server(func(d *Destination) { d.Forward = 9 }), "forwarding Forward(9) cannot be configured"},
		{"direct routing to another port", serverAddr("10.0.0.2:8080"), "forwarding Route leaves the port as it is, 80: use that port, or ForwardMasq"},
		{"a tunnel to another port", all(serverAddr("10.0.0.2:8080"), tunnel(Tunnel{})), "or ForwardMasq"},
		{"the director on another port", all(serverAddr("10.0.0.2:8080"), server(func(d *Destination) { d.Forward = ForwardLocal })), "or ForwardMasq"},
		{"NAT to port 0", all(serverAddr("10.0.0.2:0"), server(masq)), "the service's own, 80"},
		{"an IPv6 real server of IPv4", serverAddr("[fd00::2]:80"), "an IPv4 service reaches this real server by ForwardTunnel only"},
		{"an IPv4 real server of IPv6", all(v6, serverAddr("10.0.0.2:80")), "an IPv6 service reaches this real server by ForwardTunnel only"},
		{"an IPv4 real server of an IPv6 mark", mark(1, IPv6), "an IPv6 service"},
		{"a negative weight", server(func(d *Destination) { d.Weight = -1 }), "weight -1: use 0 to 2147483647"},
		{"a weight of 2^31", server(func(d *Destination) { d.Weight = math.MaxInt32; d.Weight++ }), "use 0 to 2147483647"},
		{"a threshold of 2^31", server(func(d *Destination) { d.Upper = 1 << 31 }), "use 1 to 2147483647"},
		{"a lower threshold above the upper", server(func(d *Destination) { d.Upper, d.Lower = 1, 2 }), "lower it, or raise Upper"},
		{"a lower threshold alone", server(func(d *Destination) { d.Lower = 2 }), "lower it, or raise Upper"},
		{"a tunnel type without a tunnel", server(func(d *Destination) { d.Tunnel.Type = GRE }), "set Forward to ForwardTunnel"},
		{"an unknown tunnel", tunnel(Tunnel{Type: 3}), "unknown tunnel type 3: use IPIP, GUE or GRE"},
		{"unknown tunnel flags", tunnel(Tunnel{Type: GUE, Port: 1, Flags: 4}), "unknown tunnel flags 0x4"},
		{"both checksums", tunnel(Tunnel{Type: GUE, Port: 1, Flags: 3}), "set one"},
		{"GUE without a port", tunnel(Tunnel{Type: GUE}), "set Tunnel.Port"},
		{"IPIP with a port", tunnel(Tunnel{Port: 1}), "leave Port zero, or use GUE"},
		{"GRE with a port", tunnel(Tunnel{Type: GRE, Port: 1}), "leave Port zero, or use GUE"},
		{"IPIP with checksums", tunnel(Tunnel{Flags: TunnelCsum}), "IPIP has none"},
		{"GRE with remote checksums", tunnel(Tunnel{Type: GRE, Flags: TunnelRemCsum}), "GUE has both"},
		{"a real server twice", serverAddr("10.0.0.1:80"), "name each address and port once"},
		{"a real server twice, once mapped", serverAddr("[::ffff:10.0.0.1]:80"), "name each address and port once"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validService(test.edit).Validate()
			var op *OpError
			if !errors.As(err, &op) || op.Op != "validate" || !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("the error is %v, want an OpError that matches fs.ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("the error is %q, want %q in it", err, test.text)
			}
		})
	}
}

func TestMissingPartsOfTheKernelAreUnsupported(t *testing.T) {
	for _, err := range []error{ErrNoModule, ErrNoScheduler, ErrNoEngine} {
		wrapped := &OpError{Op: "add service", Object: "FWM 1", Err: err}
		if !errors.Is(wrapped, err) || !errors.Is(wrapped, errors.ErrUnsupported) {
			t.Errorf("%v does not match itself and errors.ErrUnsupported", err)
		}
		if errors.Is(wrapped, fs.ErrInvalid) || errors.Is(wrapped, fs.ErrNotExist) {
			t.Errorf("%v matches too much", err)
		}
	}
	if got := (&OpError{Op: "flush", Err: ErrNoModule}).Error(); got != "ipvs: flush: the kernel has no ip_vs: modprobe ip_vs" {
		t.Errorf("an error without an object reads %q", got)
	}
}

func TestNormal(t *testing.T) {
	s := Service{
		ID:          ServiceID{Protocol: TCP, Addr: netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")},
		Flags:       SchedFlag1,
		Persistence: Persistence{Timeout: time.Second, Mask: 32},
		Destinations: []Destination{
			{Addr: netip.MustParseAddrPort("[::ffff:10.0.0.2]:80"), Forward: ForwardMasq, Tunnel: Tunnel{Type: GRE}},
			{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Forward: ForwardTunnel, Tunnel: Tunnel{Type: GRE}},
		},
	}
	given := s.Destinations[0]
	n := s.Normal()
	if n.ID.Addr.String() != "192.0.2.1:80" || n.Scheduler != WLC || n.Flags != SchedFlag1 || n.Persistence.Mask != 0 {
		t.Errorf("the normal form is %+v", n)
	}
	if d := n.Destinations[0]; d.Addr.String() != "10.0.0.2:80" || d.Tunnel != (Tunnel{}) {
		t.Errorf("the normal form of a real server is %+v", d)
	}
	if d := n.Destinations[1]; d.Tunnel.Type != GRE {
		t.Errorf("a tunnel lost its type: %+v", d)
	}
	if s.Destinations[0] != given {
		t.Error("normal changed its argument")
	}
	s.ID.Addr = netip.MustParseAddrPort("[fd00::5]:80")
	if n := s.Normal(); n.Persistence.Mask != 32 {
		t.Errorf("mask 32 of an IPv6 service became %d", n.Persistence.Mask)
	}
	s.Persistence = Persistence{Mask: 24, Engine: "sip"}
	if n := s.Normal(); n.Persistence != (Persistence{Engine: "sip"}) {
		t.Errorf("without persistence a mask has no effect, and yet it is %+v", n.Persistence)
	}
}
