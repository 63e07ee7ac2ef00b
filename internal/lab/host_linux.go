package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostSettings make hosts alike on every machine: a new namespace inherits its
// IPv4 settings from the machine (net.core.devconf_inherit_init_net).
var hostSettings = append([]setting{
	{"ipv4/ip_forward", "0"}, // first: it resets others
	{"ipv4/ip_nonlocal_bind", "0"},
}, eachDevice(
	setting{"ipv4/conf/%s/rp_filter", "0"},
	setting{"ipv4/conf/%s/arp_ignore", "0"},
	setting{"ipv4/conf/%s/arp_announce", "0"},
	setting{"ipv6/conf/%s/disable_ipv6", "0"},
	setting{"ipv6/conf/%s/accept_dad", "0"},
	setting{"ipv6/conf/%s/accept_ra", "0"},
	setting{"ipv6/conf/%s/autoconf", "0"},
	setting{"ipv6/conf/%s/router_solicitations", "0"},
)...)

// eachDevice sets what holds now (all) and for later interfaces (default).
func eachDevice(settings ...setting) (out []setting) {
	for _, s := range settings {
		for _, dev := range []string{"all", "default"} {
			out = append(out, setting{fmt.Sprintf(s.key, dev), s.value})
		}
	}
	return out
}

// Host is a host of the lab: a network namespace.
type Host struct {
	lab    *Lab
	name   string
	number int // from 1
	space  *space

	links   []*Link // guarded by lab.mu
	watched bool    // it has run a program, guarded by lab.mu
}

// Name is the name that the host was made with.
func (h *Host) Name() string { return h.name }

// Path is the host's network namespace as a path, for a NetNS field of a
// configuration: "/proc/<pid>/fd/<n>". It holds until the lab is closed, and
// in programs that the host runs too.
func (h *Host) Path() string { return h.space.path }

// Do calls fn on the host: on a thread in its network namespace. Sockets that
// fn opens belong to the host for good; goroutines that it starts do not.
// Beware that the net package starts some: give it addresses, not names. A
// panic and runtime.Goexit (t.FailNow) in fn are carried over to the caller.
func (h *Host) Do(fn func() error) error {
	// without the lab's lock: fn may take long, and use the lab
	return h.space.do(fn)
}

// Listen announces on an address of the host, see net.Listen. The listener
// may be used from anywhere, as by http.Serve. Lab.Close closes it, before it
// waits for the functions that may be waiting for it.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	return listen(h, network, addr, func(c *net.ListenConfig) (net.Listener, error) {
		return c.Listen(h.lab.ctx, network, addr)
	})
}

// ListenPacket is Listen for packets, see net.ListenPacket.
func (h *Host) ListenPacket(network, addr string) (net.PacketConn, error) {
	return listen(h, network, addr, func(c *net.ListenConfig) (net.PacketConn, error) {
		return c.ListenPacket(h.lab.ctx, network, addr)
	})
}

func listen[T io.Closer](h *Host, network, addr string, open func(*net.ListenConfig) (T, error)) (sock T, err error) {
	err = h.space.do(func() (err error) {
		sock, err = open(&net.ListenConfig{})
		return err
	})
	if err == nil {
		err = h.lab.use(func() error {
			h.lab.sockets = append(h.lab.sockets, sock)
			return nil
		})
		if err != nil {
			sock.Close()
		}
	}
	if err != nil {
		var none T
		return none, h.wrap("listen", err)
	}
	return sock, nil
}

// Dial connects from the host to a numeric address, see net.Dialer. It fits
// http.Transport.DialContext.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.space.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, h.wrap("dial", err)
	}
	return conn, nil
}

// Route sends what goes to dst by way of the neighbour via. A route to the
// same dst is replaced. 0.0.0.0/0 and ::/0 are the default routes.
func (h *Host) Route(dst netip.Prefix, via netip.Addr) error {
	err := h.lab.use(func() error {
		if !dst.IsValid() || !via.IsValid() || dst.Addr().Is4() != via.Is4() {
			return fs.ErrInvalid
		}
		ipnet := ipNet(dst.Masked())
		return h.space.nl.RouteReplace(&netlink.Route{Dst: &ipnet, Gw: via.AsSlice()})
	})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		err = fmt.Errorf("%w: the host has no link to the gateway's network", err)
	}
	return h.wrap(fmt.Sprintf("route %s via %s", dst, via), err)
}

// Forward makes the host a router for IPv4 and IPv6.
func (h *Host) Forward() error {
	return h.wrap("forward", h.space.do(func() error {
		return applySettings([]setting{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}})
	}))
}

// wrap says where an error happened.
func (h *Host) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("lab: %s on %s: %w", op, h.name, err)
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
