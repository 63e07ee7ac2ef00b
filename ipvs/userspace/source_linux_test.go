package userspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// Both answer a request with the client's address and port, and those that the
// client called, of the PROXY header.
const (
	nginxReader = `daemon off;
master_process off;
user root root;
pid %[1]s/pid;
error_log stderr error;
events {}
http {
 access_log off;
 client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
 server {
  listen %[2]s proxy_protocol;
  return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
 }
}
`
	haproxyReader = `defaults
 mode http
 timeout client 1m
frontend reader
 bind %[2]s accept-proxy
 http-request return status 200 content-type text/plain lf-string "%%[src] %%[src_port] %%[dst] %%[dst_port]"
`
)

// Programs that read the PROXY protocol learn who the client is.
func TestProxyIsReadByOthers(t *testing.T) {
	for _, reader := range []struct {
		name, config string
		args         []string
	}{
		{"nginx", nginxReader, []string{"-c"}},
		{"haproxy", haproxyReader, []string{"-db", "-f"}},
	} {
		for _, at := range []struct{ name, client, virtual, server string }{
			{"IPv4", "127.0.0.7", "127.0.0.1:80", "127.0.0.2:8080"},
			{"IPv6", "::7", "[::1]:80", "[::2]:8080"},
		} {
			t.Run(reader.name+" "+at.name, func(t *testing.T) {
				need.Program(t, reader.name)
				h := labtest.Host(t, labtest.New(t), "all")
				labtest.Run(t, h, "ip", "addr", "add", "::7/128", "dev", "lo", "nodad")
				labtest.Run(t, h, "ip", "addr", "add", "::2/128", "dev", "lo", "nodad")
				dir := t.TempDir()
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				config := filepath.Join(dir, "config")
				if err := os.WriteFile(config, fmt.Appendf(nil, reader.config, dir, at.server), 0o644); err != nil {
					t.Fatal(err)
				}
				labtest.Start(t, h, "", reader.name, append(reader.args, config)...)
				waitListening(t, h, at.server)
				id := ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(at.virtual)}
				sourced(t, Config{NetNS: h.Path()}, SourceProxy, id, at.server)
				var client net.Addr
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(at.client)}}
				web := http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
					err = h.Do(func() error {
						c, err = dialer.DialContext(ctx, network, addr)
						return err
					})
					if err == nil {
						client = c.LocalAddr()
					}
					return c, err
				}}}
				defer web.CloseIdleConnections()
				r, err := web.Get("http://" + at.virtual)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf("%s %d %s 80", at.client, client.(*net.TCPAddr).Port, id.Addr.Addr())
				if string(body) != want {
					t.Errorf("the server was told %q, want %q", body, want)
				}
			})
		}
	}
}

// waitListening waits until something listens there.
func waitListening(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	eventually(t, "somebody listens at "+addr, func() bool {
		c, err := h.Dial(t.Context(), "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// sourced runs an Engine with a service of one real server, to the end of the
// test.
func sourced(t *testing.T, cfg Config, source Source, id ipvs.ServiceID, server string) {
	t.Helper()
	cfg.Source = func(ipvs.ServiceID) Source { return source }
	e := open(t, cfg)
	s := ipvs.Service{ID: id, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{
		{Addr: netip.MustParseAddrPort(server), Forward: ipvs.ForwardMasq, Weight: 1},
	}}
	if err := e.AddService(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// With a transparent source the real server sees the client itself.
//
//	client ---- director ---- server
//
// The server's way back is through the director, which takes what belongs to
// its own sockets: by a rule of netfilter that marks it (as in the comment of
// Config.Source), and a route that makes marked packets local.
func TestTransparentSource(t *testing.T) {
	need.Program(t, "ip", "nft")
	l := labtest.New(t)
	outside, inside := labtest.Switch(t, l, "outside"), labtest.Switch(t, l, "inside")
	client, director, server := labtest.Host(t, l, "client"), labtest.Host(t, l, "director"), labtest.Host(t, l, "server")
	labtest.Connect(t, client, outside, "192.0.2.7/24", "2001:db8:1::7/64")
	labtest.Connect(t, director, outside, "192.0.2.1/24", "2001:db8:1::1/64")
	labtest.Connect(t, director, inside, "10.0.0.1/24", "2001:db8:2::1/64")
	labtest.Connect(t, server, inside, "10.0.0.2/24", "2001:db8:2::2/64")
	for _, r := range [][2]string{{"0.0.0.0/0", "10.0.0.1"}, {"::/0", "2001:db8:2::1"}} {
		if err := server.Route(netip.MustParsePrefix(r[0]), netip.MustParseAddr(r[1])); err != nil {
			t.Fatal(err)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		labtest.Run(t, director, "ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
		labtest.Run(t, director, "ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100")
	}
	labtest.Run(t, director, "nft", `add table inet lvskit; add chain inet lvskit prerouting { type filter hook prerouting priority mangle; };
add rule inet lvskit prerouting meta l4proto { tcp, udp } socket transparent 1 meta mark set 1 accept`)
	for _, at := range []struct{ name, virtual, server string }{
		{"IPv4", "192.0.2.1:80", "10.0.0.2:8080"},
		{"IPv6", "[2001:db8:1::1]:80", "[2001:db8:2::2]:8080"},
	} {
		t.Run("TCP over "+at.name, func(t *testing.T) {
			tellTCP(t, server, at.server)
			sourced(t, Config{NetNS: director.Path()}, SourceTransparent, ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(at.virtual)}, at.server)
			for range 3 {
				seen(t, client, "tcp", at.virtual)
			}
		})
		t.Run("UDP over "+at.name, func(t *testing.T) {
			tellUDP(t, server, at.server)
			sourced(t, Config{NetNS: director.Path()}, SourceTransparent, ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort(at.virtual)}, at.server)
			for range 3 {
				seen(t, client, "udp", at.virtual)
			}
		})
	}
}

// seen calls a service, and wants to be told its own address.
func seen(t *testing.T, client *lab.Host, network, virtual string) {
	t.Helper()
	c, err := client.Dial(t.Context(), network, virtual)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "who am I?"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf[:n]), c.LocalAddr().String(); got != want {
		t.Errorf("the server sees %q, want %q", got, want)
	}
}

// tellTCP and tellUDP are servers that tell each client its address.
func tellTCP(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	l, err := h.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	task := h.Go(func(context.Context) error {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			io.ReadFull(c, make([]byte, 9))
			io.WriteString(c, c.RemoteAddr().String())
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		if err := task.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func tellUDP(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	p, err := h.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	task := h.Go(func(context.Context) error {
		for {
			_, from, err := p.ReadFrom(make([]byte, 100))
			if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ENETUNREACH) {
				return nil
			}
			if err == nil {
				_, err = p.WriteTo([]byte(from.String()), from)
			}
			if err != nil {
				return err
			}
		}
	})
	t.Cleanup(func() {
		p.Close()
		if err := task.Stop(); err != nil {
			t.Error(err)
		}
	})
}
