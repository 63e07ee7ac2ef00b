package nat

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// ipvsRig is a director of LVS-NAT between a client and two real servers: one whose
// gateway it is, and one that knows no way to the client.
//
//	client 12 --- outside --- 1 director, VIP 100 --- inside --- 20 routed
//	                                                        +--- 30 stranger
type ipvsRig struct {
	*testing.T
	v6                                 bool
	client, director, routed, stranger *lab.Host
	table                              *Table
}

func newIPVSRig(t *testing.T, v6 bool) *ipvsRig {
	l := labtest.New(t)
	r := &ipvsRig{
		T: t, v6: v6, client: labtest.Host(t, l, "client"), director: labtest.Host(t, l, "director"),
		routed: labtest.Host(t, l, "routed"), stranger: labtest.Host(t, l, "stranger"),
	}
	outside, inside := labtest.Switch(t, l, "outside"), labtest.Switch(t, l, "inside")
	labtest.Connect(t, r.client, outside, r.prefix("12"))
	labtest.Connect(t, r.director, outside, r.prefix("1"), r.prefix("100"))
	labtest.Connect(t, r.director, inside, r.prefix("in1"))
	labtest.Connect(t, r.routed, inside, r.prefix("in20"))
	labtest.Connect(t, r.stranger, inside, r.prefix("in30"))
	gateway := netip.MustParseAddr(r.addr("in1"))
	r.must(r.routed.Route(netip.PrefixFrom(gateway, 0).Masked(), gateway))
	r.must(r.director.Forward())
	r.serve(r.routed, "in20")
	r.serve(r.stranger, "in30")
	r.serve(r.client, "12")
	vip := r.endpoint("100", 80)
	for _, server := range []string{"in20", "in30"} { // each is a service of its own port
		for _, protocol := range []string{"-t", "-u"} {
			labtest.Run(t, r.director, "ipvsadm", "-A", protocol, vip, "-s", "rr")
			labtest.Run(t, r.director, "ipvsadm", "-a", protocol, vip, "-r", r.endpoint(server, 8080), "-m")
		}
		vip = r.endpoint("100", 81)
	}
	return r
}

// addr is the address of a number, "in" in front of those inside.
func (r *ipvsRig) addr(number string) string {
	n, inside := strings.CutPrefix(number, "in")
	switch {
	case r.v6 && inside:
		return "fd00::" + n
	case r.v6:
		return "2001:db8::" + n
	case inside:
		return "10.0.0." + n
	}
	return "12.0.0." + n
}

func (r *ipvsRig) prefix(number string) string {
	return r.addr(number) + map[bool]string{false: "/24", true: "/64"}[r.v6]
}

func (r *ipvsRig) endpoint(number string, port int) string {
	return net.JoinHostPort(r.addr(number), fmt.Sprint(port))
}

func (r *ipvsRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// serve tells each client of a host's port 8080 who it is.
func (r *ipvsRig) serve(h *lab.Host, number string) {
	r.Helper()
	l, err := h.Listen("tcp", r.endpoint(number, 8080))
	r.must(err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
			c.Close()
		}
	}()
	p, err := h.ListenPacket("udp", r.endpoint(number, 8080))
	r.must(err)
	go func() {
		for b := make([]byte, 64); ; {
			_, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(from.(*net.UDPAddr).AddrPort().Addr().String()), from)
		}
	}()
}

// sees asks for what a server sees of a host that connects to an endpoint.
func (r *ipvsRig) sees(h *lab.Host, network, endpoint string) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	c, err := h.Dial(ctx, network, endpoint)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if network == "udp" {
		_, err := c.Write([]byte("?"))
		r.must(err)
	}
	b := make([]byte, 64)
	r.must(c.SetReadDeadline(time.Now().Add(5 * time.Second)))
	n, err := c.Read(b)
	return string(b[:n]), err
}

// want wants that the server behind an endpoint sees a host as of this number, by TCP
// and by UDP.
func (r *ipvsRig) want(what string, h *lab.Host, endpoint, number string) {
	r.Helper()
	for _, network := range []string{"tcp", "udp"} {
		if got, err := r.sees(h, network, endpoint); err != nil || got != r.addr(number) {
			r.Errorf("%s: %s is seen at %s/%s as %q, %v; want %s", what, h.Name(), endpoint, network, got, err, r.addr(number))
		}
	}
}

// conntrack sets net.ipv4.vs.conntrack, which is for both families.
func (r *ipvsRig) conntrack(value string) {
	r.Helper()
	r.must(r.director.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/vs/conntrack", []byte(value), 0o644)
	}))
}

// apply makes these the rules. Where NUMBER stands for an address it is one of
// this family.
func (r *ipvsRig) apply(lines ...string) {
	r.Helper()
	var want []Rule
	for _, line := range lines {
		rule, err := ParseRule(line)
		r.must(err)
		want = append(want, rule)
	}
	_, err := r.table.Apply(r.Context(), want)
	r.must(err)
}

// matched wants that the rules have rewritten so many connections together.
func (r *ipvsRig) matched(what string, want uint64) {
	r.Helper()
	list, err := r.table.List(r.Context())
	r.must(err)
	n := uint64(0)
	for _, s := range list {
		n += s.Packets
	}
	if n != want {
		r.Errorf("%s: %d connections were rewritten, want %d", what, n, want)
	}
}

// TestBesideIPVS has rules of SNAT on a director whose connections are rewritten by
// IPVS too.
func TestBesideIPVS(t *testing.T) {
	need.IPVS(t)
	need.Program(t, "ipvsadm", "iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft-restore", "ip6tables-legacy-restore")
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			t.Parallel()
			r := newIPVSRig(t, v6)
			for _, b := range []Backend{NFTables, IPTablesNFT, IPTablesLegacy} {
				t.Run(b.String(), func(t *testing.T) {
					sub := *r
					sub.T = t
					sub.open(b)
					sub.returnPath()
					sub.fullNAT()
				})
			}
		})
	}
}

func (r *ipvsRig) open(b Backend) {
	r.Helper()
	table, err := Open(Config{NetNS: r.director.Path(), Backend: b})
	r.must(err)
	r.table = table
	r.Cleanup(func() {
		r.must(table.Clear(context.Background()))
		r.must(table.Close())
	})
}

// returnPath has the real servers' own connections go out as the VIP's. Those of
// the service come and go as IPVS has them, whether it tells conntrack or not.
func (r *ipvsRig) returnPath() {
	r.Helper()
	r.apply("snat: source " + netip.MustParsePrefix(r.prefix("in1")).Masked().String() + " out eth0 to " + r.addr("100"))
	for i, value := range []string{"0", "1"} {
		r.conntrack(value)
		r.want("service, vs.conntrack="+value, r.client, r.endpoint("100", 80), "12")
		r.want("own, vs.conntrack="+value, r.routed, r.endpoint("12", 8080), "100")
		r.matched("the servers' own alone, vs.conntrack="+value, uint64(2*i+2))
	}
}

// fullNAT gives clients of the VIP an address of the director, so that a server
// answers that has no way to them. IPVS must tell conntrack: rules look at
// nothing that conntrack does not know.
func (r *ipvsRig) fullNAT() {
	r.Helper()
	to := map[bool]string{false: "10.0.0.1", true: "fd00::1"}[r.v6]
	original := r.addr("100")
	if r.v6 {
		original = "[" + original + "]"
	}
	for _, rule := range []string{"snat: %s original %s:80-81 out eth1 to " + to, "masquerade: %s original %s:80-81 out eth1 random"} {
		r.apply(fmt.Sprintf(rule, "tcp", original), fmt.Sprintf(rule, "udp", original))
		r.conntrack("0")
		r.want(rule+", vs.conntrack=0", r.client, r.endpoint("100", 80), "12")
		r.matched(rule+", vs.conntrack=0", 0)
		r.conntrack("1")
		r.want(rule, r.client, r.endpoint("100", 80), "in1")
		r.want(rule, r.client, r.endpoint("100", 81), "in1")
		r.matched(rule, 4)
	}
	// Another port was asked of the VIP than the rule has: the stranger can not answer.
	r.apply(fmt.Sprintf("masquerade: tcp original %s:80 out eth1", original))
	ctx, cancel := context.WithTimeout(r.Context(), 500*time.Millisecond)
	defer cancel()
	if c, err := r.client.Dial(ctx, "tcp", r.endpoint("100", 81)); err == nil {
		c.Close()
		r.Error("a server without a way to the client answers, though no rule rewrites the source")
	}
}
