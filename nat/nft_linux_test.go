package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// nftTable is a table of nftables in a namespace of its own.
func nftTable(t testing.TB) (*Table, *lab.Host) {
	t.Helper()
	h := labtest.Host(t, labtest.New(t), "gateway")
	return nftOpen(t, h), h
}

// nftOpen is another one there.
func nftOpen(t testing.TB, h *lab.Host) *Table {
	t.Helper()
	table, err := Open(Config{NetNS: h.Path(), Backend: NFTables})
	must(t, err)
	t.Cleanup(func() { table.Close() })
	return table
}

// manyKinds is rules of all forms that the table has.
var manyKinds = []string{
	"dnat web: tcp destination 12.0.0.1:3344 to 192.168.160.100:8080 hairpin 192.168.160.0/24",
	"dnat: tcp destination 12.0.0.2:3344 to 192.168.160.100:3344",
	"dnat web2: tcp destination 12.0.0.1:3345 to 192.168.160.100:8081 hairpin 192.168.160.0/24",
	"dnat web6: tcp destination [2001:db8::1]:3344 to [fd00::100]:8080 hairpin fd00::/64",
	"dnat shift: tcp destination 12.0.0.1:70-79 to 192.168.160.100:8071-8080 hairpin 192.168.0.0/16",
	"dnat shift6: udp destination [2001:db8::1]:70-79 to [fd00::100]:8071-8080",
	"dnat shift-in: tcp in eth1 destination 12.0.0.1:170-179 to 192.168.160.100:8071-8080",
	"dnat shift-local: sctp source 10.0.0.0/8 destination 12.0.0.1:170-179 to 192.168.160.100:8071-8080",
	"dnat one: tcp in eth1 destination 12.0.0.1:200-210 to 192.168.160.100:8080",
	"dnat all: destination 12.0.0.3 to 192.168.160.103 hairpin 192.168.160.0/24",
	"dnat net6: destination 2001:db8:2::/64 to fd00::103",
	"redirect: ipv4 tcp in eth0 destination *:81 to *:82",
	"redirect: ipv6 udp source *:1000-2000 destination *:81-82 to *:91-92",
	"snat: tcp source 192.168.160.0/25 original 12.0.0.0/24:88 out eth1 to 12.0.0.1:2000-3000 random",
	"snat: source 192.168.160.0/24 out eth1 to 12.0.0.1",
	"snat: 47 source 192.168.160.7 destination 12.0.0.0/24 to 12.0.0.7 random",
	"snat: udp original [2001:db8::/32]:53-54 to [2001:db8::7]:2000",
	"masquerade: tcp source fd00::/65 out eth1 to *:2000-3000 random",
	"masquerade: udp source fd00::/65 out eth1 to *:2000",
	"masquerade: source fd00::/64 out eth1 random",
	"masquerade: ipv4 out eth2",
}

// sameAsFresh fails unless what the table knows of the kernel is what another one
// reads there, that it is sound, and that it has these rules.
func sameAsFresh(t testing.TB, table *Table, h *lab.Host, want []Rule) {
	t.Helper()
	n, other := table.b.(*nft), nftOpen(t, h).b.(*nft)
	defer other.close()
	fresh, err := other.read(t.Context())
	must(t, err)
	cached := n.last
	if cached == nil {
		t.Fatal("the state is not known after a change")
	}
	if !fresh.sound || !fresh.there {
		t.Fatalf("sound %v, there %v", fresh.sound, fresh.there)
	}
	if cached.nft.generation != fresh.nft.generation {
		t.Errorf("generation %d, the kernel says %d", cached.nft.generation, fresh.nft.generation)
	}
	for _, s := range []*state{fresh, cached} {
		if changes, err := Plan(s.list(), want); err != nil || len(changes) > 0 {
			t.Errorf("%v %v", changes, err)
		}
	}
	if a, b := fmt.Sprint(cached.nft.hairpins), fmt.Sprint(fresh.nft.hairpins); a != b {
		t.Errorf("hairpins %s, the kernel has %s", a, b)
	}
	if cached.nft.handles == nil {
		return
	}
	for _, r := range want {
		if a, b := cached.nft.handles.get(&r), fresh.nft.handles.get(&r); a != b {
			t.Errorf("%s has the handles %d, the kernel says %d", r, a, b)
		}
	}
}

func TestNFTKnowsWhatIsThereAfterItsOwnChanges(t *testing.T) {
	table, h := nftTable(t)
	all := rules(t, manyKinds...)
	var want []Rule
	step := func(name string, err error, rules []Rule) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want = rules
		sameAsFresh(t, table, h, want)
	}
	apply := func(rules []Rule) error {
		_, err := table.Apply(t.Context(), rules)
		return err
	}
	step("apply all", apply(all), all)
	step("apply all again", apply(all), all)
	step("remove all", table.Remove(t.Context(), all...), nil)
	for i := range all {
		step("add "+all[i].String(), table.Add(t.Context(), all[i]), all[:i+1])
	}
	for i := range all {
		step("remove "+all[i].String(), table.Remove(t.Context(), all[i]), all[i+1:])
	}
	step("add all", table.Add(t.Context(), all...), all)
	back := slices.Clone(all)
	slices.Reverse(back)
	step("turn all around", apply(back), back)
	step("every other one", apply(every(2, back)), every(2, back))
	step("back again", apply(all), all)
	step("none", apply(nil), nil)
}

func every(n int, rules []Rule) (out []Rule) {
	for i := 0; i < len(rules); i += n {
		out = append(out, rules[i])
	}
	return out
}

// services are n exact rules.
func services(n int, to string) []Rule {
	list := make([]Rule, n)
	for i := range list {
		list[i] = Rule{
			Name: fmt.Sprint("service-", i), Action: DNAT, Protocol: TCP,
			Destination: prefixOf(netip.AddrFrom4([4]byte{12, byte(i >> 24), byte(i >> 16), byte(i >> 8)})), DestinationPort: Port(uint16(10000 + i%256)),
			To: netip.MustParseAddr(to), ToPort: Port(8080),
		}
	}
	return list
}

// ordered are n rules that are tried one after the other.
func ordered(n int) []Rule {
	list := make([]Rule, n)
	for i := range list {
		list[i] = Rule{
			Name: fmt.Sprint("ordered-", i), Action: SNAT, Source: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), Out: "eth1",
			To: netip.AddrFrom4([4]byte{12, 0, 0, 1}),
		}
	}
	return list
}

// More rules than the kernel tells the handles of are removed and moved all the same.
func TestNFTReadsHandlesThatItDoesNotKnow(t *testing.T) {
	table, h := nftTable(t)
	all := ordered(echoMost * 12)
	for _, want := range [][]Rule{all, every(2, all), append(slices.Clone(all[50:]), all[:50]...), all[:1]} {
		_, err := table.Apply(t.Context(), want)
		must(t, err)
		sameAsFresh(t, table, h, want)
		r := ordered(1000)[999]
		must(t, table.Add(t.Context(), r))
		must(t, table.Remove(t.Context(), want[0]))
		sameAsFresh(t, table, h, append(slices.Clone(want[1:]), r))
		must(t, table.Remove(t.Context(), r))
	}
}

// nftBufferIsLimited tells a process without rights in the initial user namespace.
func nftBufferIsLimited(t testing.TB, table *Table) bool {
	s, err := dialNFT(table.b.(*nft).namespace)
	must(t, err)
	defer s.close()
	s.c.SetWriteBuffer(bufferSize)
	have, err := s.c.WriteBuffer()
	must(t, err)
	return have < bufferSize
}

// What nothing stays of is emptied at once, map by map and chain by chain.
func TestNFTEmptiesMapsAndChainsAtOnce(t *testing.T) {
	table, h := nftTable(t)
	n := renewLeast + 10
	redirects := make([]Rule, n)
	for i := range redirects {
		redirects[i] = Rule{Action: Redirect, Family: IPv4, Protocol: UDP, DestinationPort: Port(uint16(1 + i)), ToPort: Port(9)}
	}
	few := rules(t, manyKinds...)
	for _, want := range [][]Rule{
		slices.Concat(services(n, "10.0.0.1"), ordered(n)),
		slices.Concat(services(n, "10.0.0.2"), ordered(n), redirects),
		slices.Concat(few, ordered(n)),
		slices.Concat(redirects, few),
		slices.Concat(few, ordered(n)[:7], services(n, "10.0.0.2")),
		slices.Concat(services(n, "10.0.0.1"), ordered(n)[7:], few[1:]),
		few,
		nil,
	} {
		_, err := table.Apply(t.Context(), want)
		must(t, err)
		sameAsFresh(t, table, h, want)
		if len(want) > 0 {
			must(t, table.Remove(t.Context(), want[len(want)-1]))
			sameAsFresh(t, table, h, want[:len(want)-1])
		}
	}
}

func TestNFTOfAHundredThousandRules(t *testing.T) {
	table, h := nftTable(t)
	n := 100_000
	if need.Emulated() || raceDetector {
		n = 20_000
	}
	want := services(n, "10.0.0.1")
	for _, want := range [][]Rule{want, services(n, "10.0.0.2"), want[:n/2]} {
		_, err := table.Apply(t.Context(), want)
		if errors.Is(err, unix.EMSGSIZE) && nftBufferIsLimited(t, table) {
			t.Skip(err)
		}
		must(t, err)
	}
	sameAsFresh(t, table, h, want[:n/2])
	must(t, table.Clear(t.Context()))
}

// What nft prints of the table it can load, as an administrator does who saves the
// rules.
func TestNFTReadsWhatItPrints(t *testing.T) {
	need.Program(t, "nft")
	table, h := nftTable(t)
	want := rules(t, manyKinds...)
	_, err := table.Apply(t.Context(), want)
	must(t, err)
	file := filepath.Join(t.TempDir(), "ruleset")
	must(t, os.WriteFile(file, []byte(labtest.Run(t, h, "nft", "list", "ruleset")), 0o600))
	must(t, table.Clear(t.Context()))
	labtest.Run(t, h, "nft", "-f", file)
	// nft does not print what rules are made of, so that is not the whole truth.
	_, err = table.Apply(t.Context(), want)
	must(t, err)
	sameAsFresh(t, table, h, want)
}
