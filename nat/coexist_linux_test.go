package nat

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/need"
)

// neighbour is a program that has rules of its own beside ours. Its rules publish port 5000
// of the gateway at guest:80, masquerade the guests, and drop what goes to web:6666.
type neighbour struct {
	name     string
	programs []string
	start    func(*wire) // it makes its rules
	stop     func(*wire) // it removes them
	dump     func(*wire) string
	flush    func(*wire) // a person removes all rules with the same tools
}

// neighbours are rules as docker has them, and as firewalld has.
func neighbours() []neighbour {
	list := []neighbour{{
		name: "firewalld", programs: []string{"nft"},
		start: func(w *wire) { w.shell("nft -f -", firewalldLike) },
		stop:  func(w *wire) { w.shell("nft delete table inet firewalld", "") },
		dump:  func(w *wire) string { return w.shell("nft -s list table inet firewalld", "") },
		flush: func(w *wire) { w.shell("nft flush ruleset", "") },
	}}
	for _, variant := range []string{"-nft", "-legacy"} {
		each := func(w *wire, command, text string) (out string) {
			for i, program := range []string{"iptables", "ip6tables"} {
				out += w.shell(program+variant+command, expand(text, i == 1))
			}
			return out
		}
		list = append(list, neighbour{
			name: "docker" + variant, programs: []string{"iptables" + variant, "ip6tables" + variant},
			start: func(w *wire) { each(w, "-restore -n -w", dockerLike) },
			stop:  func(w *wire) { each(w, "-restore -n -w", dockerGone()) },
			dump: func(w *wire) string {
				return strings.Join(dockerLines.FindAllString(each(w, "-save", ""), -1), "\n")
			},
			flush: func(w *wire) {
				for _, command := range []string{"-t nat -F", "-t nat -X", "-F", "-X", "-P FORWARD ACCEPT"} {
					each(w, " -w "+command, "")
				}
			},
		})
	}
	return list
}

const firewalldLike = `
table inet firewalld {
	chain nat_PREROUTING {
		type nat hook prerouting priority dstnat + 10; policy accept;
		jump nat_PREROUTING_ZONES
	}
	chain nat_PREROUTING_ZONES {
		iifname "eth1" meta nfproto ipv4 tcp dport { 5000, 5001 } dnat ip to 172.16.0.5:80
		iifname "eth1" meta nfproto ipv6 tcp dport { 5000, 5001 } dnat ip6 to [fd01::5]:80
	}
	chain nat_POSTROUTING {
		type nat hook postrouting priority srcnat + 10; policy accept;
		oifname "eth1" ip saddr 172.16.0.0/24 masquerade
		oifname "eth1" ip6 saddr fd01::/64 masquerade
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		tcp dport 6666 drop
		ct status dnat accept
		iifname { "eth0", "eth1", "eth2" } accept
		reject with icmpx admin-prohibited
	}
}`

const dockerLike = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {guests} ! -o eth2 -j MASQUERADE
-A DOCKER -i eth2 -j RETURN
-A DOCKER ! -i eth2 -p tcp -m tcp --dport 5000 -j DNAT --to-destination {guest:80}
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o eth2 -j DOCKER
-A FORWARD -i eth2 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER -d {guest} ! -i eth2 -o eth2 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -p tcp -m tcp --dport 6666 -j DROP
-A DOCKER-USER -o eth0 -j ACCEPT
-A DOCKER-USER -i eth0 -j ACCEPT
COMMIT
`

// dockerGone removes what dockerLike makes.
func dockerGone() string {
	text := strings.ReplaceAll(dockerLike, "\n-A ", "\n-D ")
	text = strings.ReplaceAll(text, "FORWARD DROP", "FORWARD ACCEPT")
	for _, chain := range []string{"DOCKER", "DOCKER-USER"} {
		text = strings.ReplaceAll(text, ":"+chain+" - [0:0]\n", "")
	}
	text = strings.Replace(text, "COMMIT", "-X DOCKER\nCOMMIT", 1)
	at := strings.LastIndex(text, "COMMIT")
	return text[:at] + "-X DOCKER-USER\n-X DOCKER\nCOMMIT\n"
}

// dockerLines are those that tell rules of dockerLike.
var dockerLines = regexp.MustCompile(`(?m)^(-A.*DOCKER.*|-A POSTROUTING.*MASQUERADE|:DOCKER\S*|:FORWARD \S+)`)

// shell runs a command on the gateway and returns what it wrote.
func (w *wire) shell(command, input string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return shellOn(ctx, w.t, w.host, command, input)
}

func shellOn(ctx context.Context, t testing.TB, h *lab.Host, command, input string) string {
	t.Helper()
	out, err := h.Run(ctx, "sh", "-c", command+" <<'END'\n"+input+"\nEND")
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, input)
	}
	return out
}

// Our rules and packets of theirs, and the other way round.
var (
	besides = packetCase{rules: []string{
		"dnat web: tcp destination {pub:3344} to {web:8080} hairpin {inside}",
		"dnat: tcp destination {pub:6666} to {web}",
		"dnat: udp in eth1 destination {pub:50-60} to {web}",
		"snat: source {inside} out eth1 to {pub}",
	}, packets: []string{
		"tcp client > pub:3344 = client > web:8080 by eth0",
		"tcp pc > pub:3344 = gw > web:8080 by eth0",
		"udp client > pub:53 = client > web:53 by eth0",
		"tcp pc > far:443 = pub > far:443 by eth1",
		"tcp client > pub:6666 = nowhere", // no rule of ours lets through what another's drops
	}}
	theirPackets = []string{
		"tcp client > pub:5000 = client > guest:80 by eth2",
		"tcp guest > far:443 = pub > far:443 by eth1",
	}
	withoutUs = []string{
		"tcp client > pub:3344 = client > pub:3344 by gateway",
		"udp client > pub:53 = client > pub:53 by gateway",
	}
)

func (w *wire) expectAll(when string, packets ...string) {
	w.t.Helper()
	for _, text := range packets {
		for _, v6 := range []bool{false, true} {
			if w.expect(text, v6); w.t.Failed() {
				w.t.Fatal(when)
			}
		}
	}
}

// Both work, whoever came first, and nobody's rules go with the other's.
func TestBesideOthers(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		for i, o := range neighbours() {
			if leftOut(i+int(b), 3) {
				continue
			}
			t.Run(o.name, func(t *testing.T) {
				need.Program(t, o.programs...)
				w := newWire(t)
				table := w.table(b)
				ours := append(besides.ruleset(t, false), besides.ruleset(t, true)...)
				same := func(when, want string) {
					t.Helper()
					if got := o.dump(w); got != want {
						t.Errorf("%s, the rules of %s are\n%s\nwant\n%s", when, o.name, got, want)
					}
				}
				o.start(w)
				want := o.dump(w)
				w.apply(table, ours)
				w.expectAll("ours came after theirs", besides.packets...)
				w.expectAll("ours came after theirs", theirPackets...)
				same("after Apply", want)

				o.stop(w)
				w.expectAll("they are gone", besides.packets[:4]...)
				o.start(w)
				w.expectAll("theirs came after ours", besides.packets...)
				w.expectAll("theirs came after ours", theirPackets...)
				w.apply(table, ours[1:])
				w.apply(table, ours)
				w.expectAll("ours changed", besides.packets...)
				w.expectAll("ours changed", theirPackets...)

				must(t, table.Clear(t.Context()))
				same("after Clear", want)
				w.expectAll("ours are gone", theirPackets...)
				w.expectAll("ours are gone", withoutUs...)
			})
		}
	})
}

// What others flush, the next Apply puts back, and Clear clears what they left.
func TestFlushedByOthers(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		for i, o := range neighbours() {
			if leftOut(i+int(b), 3) || need.Emulated() && b != IPTablesNFT {
				continue
			}
			t.Run(o.name, func(t *testing.T) {
				need.Program(t, o.programs...)
				w := newWire(t)
				table := w.table(b)
				ours := append(besides.ruleset(t, false), besides.ruleset(t, true)...)
				o.start(w)
				w.apply(table, ours)
				for range 2 {
					o.flush(w)
					w.apply(table, ours)
					w.expectAll("flushed", besides.packets[:4]...)
					if err := sameRules(t, table, ours); err != nil {
						t.Error(err)
					}
				}
				o.flush(w)
				must(t, table.Clear(t.Context()))
				w.expectAll("flushed and cleared", withoutUs...)
				must(t, table.Add(t.Context(), ours...))
				w.expectAll("flushed, cleared and added", besides.packets[:4]...)
			})
		}
	})
}

// Where two publish the same port, nftables' table is asked first.
func TestOursComesFirst(t *testing.T) {
	need.Program(t, "nft")
	w := newWire(t)
	table := w.table(NFTables)
	o := neighbours()[0]
	o.start(w)
	c := packetCase{rules: []string{"dnat: tcp destination {pub:5001} to {web}", "snat: source {guest} out eth1 to {vip}"}}
	w.apply(table, append(c.ruleset(t, false), c.ruleset(t, true)...))
	w.expectAll("ours first", "tcp client > pub:5001 = client > web:5001 by eth0", "tcp guest > far:80 = vip > far:80 by eth1")
	w.expectAll("theirs where we have none", theirPackets[0])
}
