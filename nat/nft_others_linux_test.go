package nat

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
	"golang.org/x/sys/unix"
)

// What others do to our table is seen, and mended by the next Apply.
func TestNFTMendsWhatOthersSpoil(t *testing.T) {
	need.Program(t, "nft")
	table, h := nftTable(t)
	want := rules(t, manyKinds...)
	n := table.b.(*nft)
	for _, tt := range []struct {
		name, script string
		sound        bool // it is ours in form, but not what was wanted
	}{
		{"a rule in a chain with a hook", "add rule inet lvskit prerouting counter", false},
		{"a rule before ours", "insert rule inet lvskit postrouting accept", false},
		{"a rule among those in order", "add rule inet lvskit source oifname eth9 masquerade", false},
		{"a rule among the hairpins", "add rule inet lvskit hairpin masquerade", false},
		{"no lookup", "flush chain inet lvskit output", false},
		{"another lookup", "flush chain inet lvskit output; add rule inet lvskit output dnat ip to ip daddr . meta l4proto . th dport map @published4; add rule inet lvskit output jump local", false},
		{"a jump elsewhere", "flush chain inet lvskit postrouting; add rule inet lvskit postrouting jump hairpin; add rule inet lvskit postrouting jump hairpin", false},
		{"no rules in order", "flush chain inet lvskit source", true},
		{"no rules for local connections", "flush chain inet lvskit local", false},
		{"no hairpins", "flush chain inet lvskit hairpin", false},
		{"a hairpin less", "delete element inet lvskit hairpin4_24 { 192.168.160.0 . 192.168.160.100 }", false},
		{"a hairpin more", "add element inet lvskit hairpin4_24 { 192.168.160.0 . 192.168.160.99 }", false},
		{"a published port less", "delete element inet lvskit published4 { 12.0.0.1 . tcp . 3344 }", true},
		{"a published port without a hairpin less", "delete element inet lvskit published4 { 12.0.0.2 . tcp . 3344 }", true},
		{"a published port more", "add element inet lvskit published4 { 12.0.0.9 . tcp . 3344 : 10.0.0.9 . 3344 }", true},
		{"a published port of no protocol", "add element inet lvskit published4 { 12.0.0.9 . icmp . 3344 : 10.0.0.9 . 3344 }", false},
		{"a published port that leads elsewhere", "delete element inet lvskit published4 { 12.0.0.2 . tcp . 3344 }; add element inet lvskit published4 { 12.0.0.2 . tcp . 3344 : 10.0.0.9 . 99 }", true},
		{"a port of a range less", "delete element inet lvskit published4 { 12.0.0.1 . tcp . 75 }", false},
		{"a port of a range that leads elsewhere", `delete element inet lvskit published6 { 2001:db8::1 . udp . 75 }; add element inet lvskit published6 { 2001:db8::1 . udp . 75 comment "name shift6 shift 70-79 8071-8080" : fd00::100 . 8075 }`, false},
		{"a comment that is not ours", `add element inet lvskit published4 { 12.0.0.9 . tcp . 80 comment "hello" : 10.0.0.9 . 80 }`, false},
		{"another form of the map", "flush chain inet lvskit prerouting; flush chain inet lvskit output; delete map inet lvskit published4; " +
			"add map inet lvskit published4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; counter; }; " +
			"add element inet lvskit published4 { 12.0.0.2 . tcp . 3344 timeout 1h : 192.168.160.100 . 3344 }; " +
			sameRulesAsText, false},
		{"a map that can be full", "flush chain inet lvskit prerouting; flush chain inet lvskit output; delete map inet lvskit published4; " +
			"add map inet lvskit published4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; size 3; counter; }; " + sameRulesAsText, false},
		{"a map without counters", "flush chain inet lvskit prerouting; flush chain inet lvskit output; delete map inet lvskit published4; " +
			"add map inet lvskit published4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }; " + sameRulesAsText, false},
		{"no map", "flush chain inet lvskit prerouting; flush chain inet lvskit output; delete map inet lvskit published6", false},
		{"a chain more", "add chain inet lvskit mine { type nat hook prerouting priority -150; }", false},
		{"a set more", "add set inet lvskit mine { type ipv4_addr; }", false},
		{"a counter more", "add counter inet lvskit mine", false},
		{"no chain", "flush chain inet lvskit postrouting; flush chain inet lvskit hairpin; delete chain inet lvskit hairpin", false},
		{"another priority", "flush chain inet lvskit postrouting; delete chain inet lvskit postrouting; " +
			"add chain inet lvskit postrouting { type nat hook postrouting priority 200; }; add rule inet lvskit postrouting jump hairpin; add rule inet lvskit postrouting jump source", false},
		{"another hook", "flush chain inet lvskit prerouting; delete chain inet lvskit prerouting; " +
			"add chain inet lvskit prerouting { type nat hook output priority -110; }; flush chain inet lvskit output; " + sameRulesAsText, false},
		{"another type", "flush chain inet lvskit postrouting; delete chain inet lvskit postrouting; " +
			"add chain inet lvskit postrouting { type filter hook postrouting priority 90; }; add rule inet lvskit postrouting counter", false},
		{"a chain that drops", "add chain inet lvskit prerouting { policy drop; }", false},
		{"a table that sleeps", "add table inet lvskit { flags dormant; }", false},
		{"no table", "delete table inet lvskit", true},
		{"nothing", "flush ruleset", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Apply(t.Context(), want)
			must(t, err)
			sameAsFresh(t, table, h, want)
			labtest.Run(t, h, "nft", strings.ReplaceAll(tt.script, "eth9", "\"eth9\""))
			s, err := n.read(t.Context())
			must(t, err)
			if s.there && s.sound != tt.sound {
				t.Errorf("sound %v: %v", s.sound, s.list())
			}
			_, err = table.Apply(t.Context(), want)
			must(t, err)
			sameAsFresh(t, table, h, want)
		})
	}
}

// sameRulesAsText are the rules of the chains that look up.
const sameRulesAsText = "add rule inet lvskit prerouting dnat ip to ip daddr . meta l4proto . th dport map @published4; " +
	"add rule inet lvskit prerouting dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6; " +
	"add rule inet lvskit prerouting jump destination; " +
	"add rule inet lvskit output dnat ip to ip daddr . meta l4proto . th dport map @published4; " +
	"add rule inet lvskit output dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6; " +
	"add rule inet lvskit output jump local"

// nftDo makes a transaction that no program would make.
func nftDo(t testing.TB, table *Table, write func(*batch)) {
	t.Helper()
	s, err := dialNFT(table.b.(*nft).namespace)
	must(t, err)
	defer s.close()
	b := newBatch("lvskit", 0, 0)
	write(b)
	must(t, b.commit(s, nil))
}

// Rules that claim to be ours and are not.
func TestNFTMendsRulesThatLie(t *testing.T) {
	table, h := nftTable(t)
	want := rules(t, manyKinds...)
	is, other := rules(t, "snat: source 10.7.0.0/16 to 12.0.0.1")[0], rules(t, "snat: source 10.8.0.0/16 to 12.0.0.1")[0]
	shift := rules(t, "dnat: tcp source 10.7.0.0/16 destination 12.0.0.1:70-79 to 10.0.0.1:170-179")[0]
	shift2 := rules(t, "dnat: tcp source 10.7.0.0/16 destination 12.0.0.1:70-79 to 10.0.0.1:180-189")[0]
	for _, tt := range []struct {
		name  string
		write func(*batch)
	}{
		{"a rule that says it is another", func(b *batch) { b.newRule("source", 0, func() { b.rule(&other) }, "", is.encode()) }},
		{"a rule that is there twice", func(b *batch) {
			for range 2 {
				b.newRule("source", 0, func() { b.rule(&is) }, "", is.encode())
			}
		}},
		{"a rule in the wrong chain", func(b *batch) {
			r := rules(t, "redirect: ipv4 tcp destination *:7 to *:8")[0]
			b.newRule("local", 0, func() { b.rule(&r) }, "", r.encode())
		}},
		{"a rule without its counter", func(b *batch) {
			b.newRule("source", 0, func() { match{&b.nftWire, false}.target(&is) }, "", is.encode())
		}},
		{"a local rule at one place alone", func(b *batch) {
			r := rules(t, "dnat: destination 12.0.1.0/24 to 10.0.0.1")[0]
			b.newRule("local", 0, func() { b.rule(&r) }, "", r.encode())
		}},
		{"another map of ports", func(b *batch) {
			b.shiftMap(&shift2)
			b.newRule("destination", 0, func() { b.rule(&shift) }, "", shift.encode())
			b.shiftMap(&shift)
			b.newRule("local", 0, func() { b.rule(&shift) }, "", shift.encode())
		}},
		{"user data that is cut off", func(b *batch) {
			b.newRule("source", 0, func() { b.rule(&is) }, "", is.encode())
			b.b[len(b.b)-len(is.encode())-3] = 200
		}},
		{"user data of nothing", func(b *batch) { b.newRule("hairpin", 0, func() { b.counter() }, "", []byte{4}) }},
		{"a published port that no packet has", func(b *batch) {
			e := elements{w: &b.nftWire, command: unix.NFT_MSG_NEWSETELEM, set: publishedMap(false)}
			r := services(1, "10.0.0.1")[0]
			for p, to := range r.publishes() {
				e.published(&r, p, to)
			}
			b.b[e.elem+4+4+4+11] = 1 // behind the port
			e.end()
		}},
		{"a hairpin that is there twice", func(b *batch) {
			l := hairpinLength{false, 24}
			b.newRule("hairpin", 0, func() { b.hairpin(l) }, "", l.encode())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Apply(t.Context(), want)
			must(t, err)
			nftDo(t, table, tt.write)
			s, err := table.b.read(t.Context())
			must(t, err)
			if s.sound {
				t.Error("it is taken for ours")
			}
			_, err = table.Apply(t.Context(), want)
			must(t, err)
			sameAsFresh(t, table, h, want)
		})
	}
}

// A table that another process owns is not ours, and says so.
func TestNFTLeavesATableThatIsOwned(t *testing.T) {
	table, _ := nftTable(t)
	s, err := dialNFT(table.b.(*nft).namespace)
	must(t, err)
	defer s.close()
	b := newBatch("lvskit", 0, 0)
	at := b.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	b.text(unix.NFTA_TABLE_NAME, "lvskit")
	b.u32(unix.NFTA_TABLE_FLAGS, 2) // NFT_TABLE_F_OWNER
	b.end(at)
	must(t, b.commit(s, nil))
	for range 2 {
		if _, err = table.Apply(t.Context(), rules(t, web)); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "owner") {
			t.Errorf("Apply: %v", err)
		}
	}
	if err := table.Clear(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Clear: %v", err)
	}
}

// Two tables of one name see what the other one did.
func TestNFTChangesOfTwoTablesOfOneName(t *testing.T) {
	one, h := nftTable(t)
	two := nftOpen(t, h)
	all := rules(t, manyKinds...)
	for i, r := range all {
		table := []*Table{one, two}[i%2]
		must(t, table.Add(t.Context(), r))
		sameAsFresh(t, table, h, all[:i+1])
		if err := []*Table{two, one}[i%2].Add(t.Context(), r); !errors.Is(err, fs.ErrExist) {
			t.Errorf("again: %v", err)
		}
	}
	for i, r := range all {
		table := []*Table{two, one}[i%2]
		must(t, table.Remove(t.Context(), r))
		sameAsFresh(t, table, h, all[i+1:])
	}
}

// Between reading and writing somebody may write: to our table, then it is read again, or
// to others all the time, then that does not keep us from writing.
func TestNFTBesideOthersWhoWriteAllTheTime(t *testing.T) {
	table, h := nftTable(t)
	other, err := dialNFT(table.b.(*nft).namespace)
	must(t, err)
	defer other.close()
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	done := make(chan error)
	go func() {
		for ctx.Err() == nil {
			b := newBatch("others", 0, 0)
			b.tableMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
			b.tableMessage(unix.NFT_MSG_DELTABLE, 0)
			if err := b.commit(other, nil); err != nil {
				done <- err
				return
			}
			written.Add(1)
		}
		done <- nil
	}()
	defer func() {
		stop()
		must(t, <-done)
	}()
	for written.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	before := written.Load()
	n := 3000
	if need.Emulated() {
		n = 300
	}
	for _, want := range [][]Rule{services(n, "10.0.0.1"), services(n, "10.0.0.2"), append(ordered(200), services(n, "10.0.0.3")...)} {
		_, err := table.Apply(t.Context(), want)
		must(t, err)
		r := ordered(1000)[999]
		must(t, table.Add(t.Context(), r))
		must(t, table.Remove(t.Context(), r))
		list, err := table.List(t.Context())
		if err != nil || len(list) != len(want) {
			t.Errorf("%d of %d rules, %v", len(list), len(want), err)
		}
	}
	if written.Load() == before {
		t.Error("nobody has written meanwhile")
	}
	stop()
	must(t, <-done)
	go func() { done <- nil }()
	_, err = table.b.current(t.Context())
	must(t, err)
	sameAsFresh(t, table, h, append(ordered(200), services(n, "10.0.0.3")...))
}

// A process without rights is told which are missing.
func TestNFTWithoutRights(t *testing.T) {
	if os.Getenv("LVSKIT_TEST_NO_RIGHTS") == "" {
		need.Root(t)
		need.Program(t, "setpriv")
		cmd := exec.CommandContext(t.Context(), "setpriv", "--bounding-set=-all", "--inh-caps=-all", os.Args[0], "-test.run=^TestNFTWithoutRights$", "-test.v")
		cmd.Env = append(os.Environ(), "LVSKIT_TEST_NO_RIGHTS=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "told:") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ns, err := openNamespace("")
	must(t, err)
	n := &nft{namespace: ns, name: "lvskit"}
	defer n.close()
	_, err = n.read(t.Context())
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Fatal(err)
	}
	t.Log("told:", err)
}

// What a kernel without parts of nf_tables answers, by net/netfilter/nf_tables_api.c and
// nfnetlink.c.
func TestNFTErrorsSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		errno   unix.Errno
		subject subject
		is      error
		says    string
	}{
		{"no nfnetlink", unix.EPROTONOSUPPORT, subject{}, errors.ErrUnsupported, "modprobe nf_tables"},
		{"no nf_tables", unix.EINVAL, subject{}, errors.ErrUnsupported, "modprobe nf_tables"},
		{"no nf_tables for a transaction", unix.EOPNOTSUPP, subject{}, errors.ErrUnsupported, "modprobe nf_tables"},
		{"no inet", unix.EOPNOTSUPP, subject{command: unix.NFT_MSG_NEWTABLE, name: "table", fresh: true}, errors.ErrUnsupported, "inet"},
		{"no nat", unix.ENOENT, subject{command: unix.NFT_MSG_NEWCHAIN, name: "chain", fresh: true}, errors.ErrUnsupported, "modprobe nft_chain_nat"},
		{"no masquerade", unix.ENOENT, subject{command: unix.NFT_MSG_NEWRULE, fresh: true, rule: &Rule{Action: Masquerade, Family: IPv4}}, errors.ErrUnsupported, "masquerade: ipv4: "},
		{"no rights", unix.EPERM, subject{command: unix.NFT_MSG_NEWRULE, name: "chain"}, fs.ErrPermission, "CAP_NET_ADMIN"},
		{"others wrote", unix.ERESTART, subject{}, errChanged, "others"},
		{"no memory", unix.ENOMEM, subject{command: unix.NFT_MSG_NEWSETELEM, name: "map published4"}, unix.ENOMEM, "map published4: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := explain(tt.errno, tt.subject)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
