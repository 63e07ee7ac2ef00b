package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/ipvs"
)

// TestThroughTheVirtualAddress breaks what a probe of the real server's own address
// does not see: that it takes packets for the virtual address. The director that
// holds that address must see it, and so must a Backup.
func TestThroughTheVirtualAddress(t *testing.T) {
	for _, tt := range []struct {
		name, forward, device, module string
		network
	}{
		{"direct routing", "dr", "lo", "", network{}},
		{"direct routing of IPv6", "dr", "lo", "", network{ipv6: true}},
		{"tunnel", "tun", "tunl0", "ipip", network{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.module != "" {
				need.Module(t, tt.module)
			}
			r := newRigOf(t, Kernel, tt.network, 2)
			if tt.forward == "tun" {
				for _, s := range r.servers {
					labtest.Run(t, s.Host, "ip", "link", "set", tt.device, "up")
					s.holdVIP(tt.device)
				}
			}
			service := r.service().with("forward", tt.forward)
			service["check"] = service["check"].(object).with("through_vip", true).with("timeout", "1s")
			r.doc = object{"services": []object{service}}
			pair := tt.name == "direct routing"
			if !pair {
				r.directors = r.directors[:1]
			} else {
				r.pair()
			}
			for _, m := range r.directors {
				m.start()
			}
			active := r.directors[0]
			r.until("the address is held", active.holds)
			for _, s := range r.servers {
				r.served(s, true, time.Minute)
			}
			load := r.load()
			load.more(r, 10)

			broken := r.servers[0]
			broken.holdVIP("")
			t.Logf("without the virtual address %s is out after %v", broken.Name(), r.served(broken, false, slowest()))
			for _, m := range r.directors {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				conn, err := m.Dial(ctx, "tcp", broken.real())
				cancel()
				if err != nil {
					t.Fatalf("a probe of its own address would fail too: %v", err)
				}
				conn.Close()
			}
			load.after(r)
			load.more(r, 20)
			if by, failed := load.reset(); by[broken.Name()] > 0 || len(failed) > 0 {
				t.Errorf("%v, failed %q", by, failed)
			}
			broken.holdVIP(tt.device)
			r.served(broken, true, slowest())
			load.stop()
			if !pair {
				return
			}
			setting(t, active.Host, "net/ipv4/conf/eth0/accept_local=0")
			for _, s := range r.servers {
				r.within(slowest(), "the Active takes no answers from its own address", func() bool { return !strings.Contains(active.table(), s.real()) })
				if !strings.Contains(r.directors[1].table(), s.real()) {
					t.Errorf("the Backup, whose address it is not, has lost %s", s.Name())
				}
			}
		})
	}
}

// TestAPortThatWasUsedBefore is why conn_reuse_mode must not be 0: IPVS remembers a
// connection that has ended for two minutes, the client's kernel its port for one
// (here for none).
func TestAPortThatWasUsedBefore(t *testing.T) {
	r := newRig(t, 2)
	m := r.directors[0]
	table, err := ipvs.Open(ipvs.Config{NetNS: m.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for i, s := range r.servers {
		way := ipvs.Service{ID: ipvs.ServiceID{FWMark: uint32(i + 1)}, Scheduler: ipvs.RR, Destinations: []ipvs.Destination{{Addr: netip.AddrPortFrom(s.addr, 0), Weight: 1}}}
		if err := table.AddService(t.Context(), way); err != nil {
			t.Fatal(err)
		}
	}
	setting(t, m.Host, "net/ipv4/tcp_max_tw_buckets=0")
	for mode, want := range map[string]string{"0": "server1", "1": "server2"} {
		setting(t, m.Host, "net/ipv4/vs/conn_reuse_mode="+mode)
		port := 40000 + int(mode[0])
		if got := r.ask(m, 1, port); got != "server1" {
			t.Fatalf("mark 1 reached %q", got)
		}
		if got := r.ask(m, 2, port); got != want {
			t.Errorf("with conn_reuse_mode %s, mark 2 from the port of mark 1 reached %q, want %q", mode, got, want)
		}
	}
}

// ask asks a real server by a mark and from a port.
func (r *rig) ask(m *machine, mark, port int) (server string) {
	r.Helper()
	err := m.Do(func() error {
		dialer := net.Dialer{
			Timeout:   10 * time.Second,
			LocalAddr: &net.TCPAddr{IP: r.addr(131).AsSlice(), Port: port},
			Control: func(_, _ string, c syscall.RawConn) error {
				var err error
				ctrl := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_MARK, mark) })
				return errors.Join(ctrl, err)
			},
		}
		conn, err := dialer.Dial("tcp", r.target)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, errWrite := fmt.Fprintln(conn, "hello")
		if err := errors.Join(errWrite, conn.(*net.TCPConn).CloseWrite()); err != nil {
			return err
		}
		text, err := io.ReadAll(conn)
		server, _, _ = strings.Cut(string(text), " ")
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return server
}
