package nat

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// Whole conversations between sockets: what the server says it saw, as the client reads it.
func TestConversations(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		r := newRig(t)
		r.serve(r.web, "web", "8080")
		r.serve(r.client, "client", "8080")
		r.serve(r.gateway, "gw", "3128")
		table := tableOn(t, r.gateway, b)
		for which, family := range []string{"ipv4", "ipv6"} {
			v6 := which == 1
			var list []Rule
			for _, network := range []string{"tcp", "udp"} {
				for _, text := range []string{
					"dnat: " + network + " destination {pub:3344} to {web:8080} hairpin {inside}",
					"dnat: " + network + " destination {pub:100-110} to {web:8075-8085}",
					"dnat: " + network + " in eth1 destination {outside:200-210} to {web:8080}",
					"redirect: {family} " + network + " in eth0 destination *:80 to *:3128",
				} {
					list = append(list, rules(t, expand(text, v6))...)
				}
			}
			list = append(list, rules(t, expand("snat: source {inside} out eth1 to {pub}", v6))...)
			_, err := table.Apply(t.Context(), list)
			must(t, err)
			for _, network := range []string{"tcp", "udp"} {
				for _, c := range []struct {
					from     *lab.Host
					to, want string
				}{
					{r.client, "{pub:3344}", "{client} > {web:8080}"},
					{r.client, "{pub:105}", "{client} > {web:8080}"},
					{r.client, "{pub:207}", "{client} > {web:8080}"},
					{r.pc, "{pub:3344}", "{gw} > {web:8080}"},
					{r.web, "{pub:3344}", "{gw} > {web:8080}"},
					{r.gateway, "{pub:105}", "{pub} > {web:8080}"},
					{r.pc, "{client:8080}", "{pub} > {client:8080}"},
					{r.db, "{far:80}", "{db} > {gw:3128}"},
				} {
					want := expand(c.want, v6)
					if got := ask(t, c.from, network, expand(c.to, v6)); got != want {
						t.Errorf("%s %s: %s asks %s: got %q, want %q", family, network, c.from.Name(), c.to, got, want)
					}
				}
			}
			labtest.Run(t, r.pc, "ping", "-c1", "-W5", places["client"][which])
		}
	})
}

// A connection stays as it was begun, whatever becomes of its rule: TCP is not broken off.
// Another table looks at connections here: where nobody does any more, the kernel stops
// to track them when the last rule goes, and they are as if they had never been rewritten.
func TestConnectionsStay(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		need.Program(t, "nft")
		r := newRig(t)
		shellOn(t.Context(), t, r.gateway, "nft -f -", firewalldLike)
		table := tableOn(t, r.gateway, b)
		var list, others []Rule
		for _, v6 := range []bool{false, true} {
			r.echo(r.web, v6)
			list = append(list, rules(t, expand("dnat: tcp destination {pub:3344} to {web:7} hairpin {inside}", v6), expand("masquerade: source {inside} out eth1", v6))...)
			others = append(others, rules(t, expand("dnat: tcp destination {pub:3344} to {db:7}", v6), expand("snat: source {inside} out eth1 to {vip}", v6))...)
		}
		_, err := table.Apply(t.Context(), list)
		must(t, err)
		var conns []net.Conn
		for _, h := range []*lab.Host{r.client, r.pc, r.gateway} {
			for _, v6 := range []bool{false, true} {
				c, err := h.Dial(t.Context(), "tcp", expand("{pub:3344}", v6))
				must(t, err)
				defer c.Close()
				conns = append(conns, c)
			}
		}
		for _, change := range []struct {
			name string
			do   func() error
		}{
			{"nothing", func() error { return nil }},
			{"Apply", func() error { _, err := table.Apply(t.Context(), others); return err }},
			{"Remove", func() error { return table.Remove(t.Context(), others...) }},
			{"Clear", func() error { return table.Clear(t.Context()) }},
		} {
			must(t, change.do())
			for _, c := range conns {
				c.SetDeadline(time.Now().Add(10 * time.Second))
				c.Write([]byte("still here"))
				got := make([]byte, 10)
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "still here" {
					t.Errorf("after %s, %s to %s: %q, %v", change.name, c.LocalAddr(), c.RemoteAddr(), got, err)
				}
			}
		}
	})
}

// echo starts a server that sends back what it gets, on port 7.
func (r *rig) echo(h *lab.Host, v6 bool) {
	r.t.Helper()
	l, err := h.Listen("tcp", netip.AddrPortFrom(placeOf(h.Name(), map[bool]Family{false: IPv4, true: IPv6}[v6]), 7).String())
	must(r.t, err)
	h.Go(func(context.Context) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	})
}
