package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// pages are what the two real servers answer, as in the tutorial whose cluster
// this is.
var pages = []string{"this is kgc web!", "this is benet web!"}

// cluster is a client, a director and two real servers in a lab. How they are
// connected depends on the mode:
//
//	dr   all on one switch
//	nat  the real servers behind the director, which is their gateway
//	tun  the real servers in another network, behind a router
type cluster struct {
	lab      *lab.Lab
	mode     string
	vip      netip.Addr
	client   *lab.Host
	director *lab.Host
	servers  []*lab.Host
	reals    []netip.Addr
	lan      *lab.Switch
	router   *lab.Host // of tun, else nil
	ports    map[*lab.Host]*lab.Link
}

// network hands out the addresses of one switch.
type network struct{ base netip.Prefix }

func (n network) addr(host byte) netip.Addr {
	b := n.base.Addr().AsSlice()
	if len(b) == 16 { // 0x131 rather than 131, so that it reads the same
		b[14], b[15] = host/100, host%100/10<<4|host%10
	} else {
		b[3] = host
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (n network) prefix(host byte) netip.Prefix {
	return netip.PrefixFrom(n.addr(host), n.base.Bits())
}

// newCluster connects the hosts. Nothing of LVS is there yet.
func newCluster(l *lab.Lab, mode string, ipv6 bool) (*cluster, error) {
	lan, back := network{netip.MustParsePrefix("192.168.247.0/24")}, network{netip.MustParsePrefix("10.0.247.0/24")}
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	if ipv6 {
		lan, back = network{netip.MustParsePrefix("fd00:247::/64")}, network{netip.MustParsePrefix("fd00:a:247::/64")}
		everywhere = netip.MustParsePrefix("::/0")
	}
	c := &cluster{lab: l, mode: mode, vip: lan.addr(188), ports: map[*lab.Host]*lab.Link{}}
	b := &builder{lab: l, ports: c.ports}
	c.lan = b.network("lan")
	c.client = b.host("client", c.lan, lan.prefix(134))
	c.director = b.host("director", c.lan, lan.prefix(131))
	serverLAN, serverNet := c.lan, lan
	switch mode {
	case "dr":
	case "nat":
		serverLAN, serverNet = b.network("inside"), back
		b.connect(c.director, serverLAN, back.prefix(1))
	case "tun":
		serverLAN, serverNet = b.network("far"), back
		c.router = b.host("router", c.lan, lan.prefix(1))
		b.connect(c.router, serverLAN, back.prefix(1))
		b.do(func() error { return c.router.Forward() })
		b.route(c.director, everywhere, lan.addr(1))
		b.route(c.client, everywhere, lan.addr(1))
	default:
		return nil, fmt.Errorf("mode %q: want dr, nat or tun", mode)
	}
	for i, number := range []byte{135, 136} {
		s := b.host(fmt.Sprintf("server%d", i+1), serverLAN, serverNet.prefix(number))
		if mode != "dr" {
			b.route(s, everywhere, back.addr(1))
		}
		c.servers = append(c.servers, s)
		c.reals = append(c.reals, serverNet.addr(number))
	}
	return c, b.err
}

// builder keeps the first error, so that a topology reads as one.
type builder struct {
	lab   *lab.Lab
	ports map[*lab.Host]*lab.Link // the first of each host
	err   error
}

func (b *builder) do(fn func() error) {
	if b.err == nil {
		b.err = fn()
	}
}

func (b *builder) network(name string) (s *lab.Switch) {
	b.do(func() (err error) { s, err = b.lab.Switch(name); return err })
	return s
}

func (b *builder) host(name string, s *lab.Switch, addr netip.Prefix) (h *lab.Host) {
	b.do(func() (err error) { h, err = b.lab.Host(name); return err })
	b.connect(h, s, addr)
	return h
}

func (b *builder) connect(h *lab.Host, s *lab.Switch, addr netip.Prefix) {
	b.do(func() error {
		link, err := h.Connect(s, lab.LinkConfig{Addrs: []netip.Prefix{addr}})
		if err == nil && b.ports[h] == nil {
			b.ports[h] = link
		}
		return err
	})
}

func (b *builder) route(h *lab.Host, to netip.Prefix, via netip.Addr) {
	b.do(func() error { return h.Route(to, via) })
}

// serve starts a web server on each real server, and a UDP server that answers
// the same page to every packet.
func (c *cluster) serve() error {
	for i, s := range c.servers {
		// UDP answers must come from the address that was asked: the virtual
		// one, but for NAT.
		addr := c.vip
		if c.mode == "nat" {
			addr = c.reals[i]
		}
		web, err := s.Listen("tcp", netip.AddrPortFrom(addr, 80).String())
		if err != nil {
			return err
		}
		udp, err := s.ListenPacket("udp", netip.AddrPortFrom(addr, 80).String())
		if err != nil {
			return err
		}
		page := pages[i]
		s.Go(func(context.Context) error { // until the lab closes the listener
			_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, page) }))
			return nil
		})
		s.Go(func(context.Context) error { return answer(udp, page) })
	}
	return nil
}

func answer(conn net.PacketConn, page string) error {
	buf := make([]byte, 64)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return nil // closed with the lab
		}
		if _, err := conn.WriteTo([]byte(page), from); err != nil {
			return err
		}
	}
}

// get is one request of the client over a connection of its own.
func (c *cluster) get(ctx context.Context, protocol string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	target := netip.AddrPortFrom(c.vip, 80).String()
	if protocol == "udp" {
		return c.ask(ctx, target)
	}
	transport := &http.Transport{DialContext: c.client.Dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	return strings.TrimSuffix(string(body), "\n"), err
}

// ask sends a packet, again each second as UDP clients do, until an answer
// comes.
func (c *cluster) ask(ctx context.Context, target string) (string, error) {
	conn, err := c.client.Dial(ctx, "udp", target)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	buf := make([]byte, 64)
	for {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return "", err
		}
		n, err := conn.Read(buf)
		if err == nil || ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return string(buf[:n]), err
		}
	}
}

// directorFile is the configuration of examples/director, as far as this cluster
// needs it.
type directorFile struct {
	Interface string    `json:"interface"`
	Inside    string    `json:"inside"`
	Services  []service `json:"services"`
}

type service struct {
	VIP         netip.AddrPort `json:"vip"`
	Protocol    string         `json:"protocol"`
	Scheduler   string         `json:"scheduler"`
	Forward     string         `json:"forward"`
	Tunnel      string         `json:"tunnel"`
	Persistence string         `json:"persistence"`
	Real        []real         `json:"real"`
}

type real struct {
	Addr   netip.AddrPort `json:"addr"`
	Weight int            `json:"weight"`
}

// service is the cluster's virtual service; weights are those of the real servers,
// in order.
func (c *cluster) service(scheduler string, weights ...int) service {
	s := service{VIP: netip.AddrPortFrom(c.vip, 80), Protocol: "tcp", Scheduler: scheduler, Forward: c.mode}
	for i, addr := range c.reals {
		r := real{netip.AddrPortFrom(addr, 80), 1}
		if i < len(weights) {
			r.Weight = weights[i]
		}
		s.Real = append(s.Real, r)
	}
	return s
}

// directorArgs are the flags of examples/director for this service, with a
// configuration that is written to a file.
func (c *cluster) directorArgs(file string, s service) ([]string, error) {
	cfg := directorFile{Interface: "eth0", Services: []service{s}}
	if c.mode == "nat" {
		cfg.Inside = "eth1"
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return nil, err
	}
	return []string{"-config", file}, os.WriteFile(file, text, 0o644)
}

// serverArgs are the flags of examples/realserver for the i-th real server;
// behind NAT it needs none of it.
func (c *cluster) serverArgs(i int) []string {
	args := []string{"-mode", c.mode, "-vip", c.vip.String(), "-interface", "eth0"}
	if c.mode == "tun" {
		args = append(args, "-local", c.reals[i].String())
	}
	return args
}
