package nat

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// restore gives a text to the restore program of a variant.
func restore(t testing.TB, h *lab.Host, b Backend, text string) {
	t.Helper()
	labtest.Run(t, h, "sh", "-c", "printf '%s' \"$0\" | "+b.String()+"-restore -n -w", text)
}

// restoreAll makes the table nat the text, and nothing else.
func restoreAll(t testing.TB, h *lab.Host, b Backend, text string) {
	t.Helper()
	labtest.Run(t, h, "sh", "-c", "printf '%s' \"$0\" | "+b.String()+"-restore -w", text)
}

// saved is what the save program of a variant says of the table nat, without its remarks.
func saved(t testing.TB, h *lab.Host, b Backend) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(labtest.Run(t, h, b.String()+"-save", "-t", "nat")) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func eachVariant(t *testing.T, f func(t *testing.T, b Backend, h *lab.Host)) {
	for _, b := range variants {
		t.Run(b.String(), func(t *testing.T) {
			need.Program(t, b.String()+"-restore", strings.Replace(b.String(), "ip", "ip6", 1)+"-restore")
			f(t, b, labtest.Host(t, labtest.New(t), "gateway"))
		})
	}
}

func TestIPTablesLeavesRulesOfOthersAsTheyAre(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		restore(t, h, b, others)
		before := saved(t, h, b)
		table := tableOn(t, h, b)
		for _, want := range [][]Rule{rules(t, ofEveryKind...), rules(t, ofEveryKind[3:9]...), rules(t, ofEveryKind[:7]...)} {
			_, err := table.Apply(t.Context(), want)
			must(t, err)
			if with := saved(t, h, b); !strings.Contains(with, "LVSKIT-PRE") || len(theirs(with)) != len(theirs(before)) {
				t.Errorf("with ours:\n%s\nbefore:\n%s", with, before)
			}
		}
		must(t, table.Clear(t.Context()))
		if left := saved(t, h, b); left != before {
			t.Errorf("left:\n%s\nwas:\n%s", left, before)
		}
	})
}

// theirs are the lines that are not ours.
func theirs(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.Contains(line, "LVSKIT") && !strings.Contains(line, "hand")
	})
}

func TestIPTablesMendsWhatOthersSpoil(t *testing.T) {
	jump := `PREROUTING -m comment --comment "kept by lvskit" -j LVSKIT-PRE`
	spoils := map[string]string{
		"a rule is before the jump":           "-t nat -I PREROUTING 1 -p udp -j ACCEPT",
		"the jump is gone":                    "-t nat -D " + jump,
		"the jump is there twice":             "-t nat -A " + jump,
		"the jump is narrower":                "-t nat -R PREROUTING 1 -i eth1 -m comment --comment \"kept by lvskit\" -j LVSKIT-PRE",
		"a jump is from another chain":        "-t nat -A DOCKER -m comment --comment \"kept by lvskit\" -j LVSKIT-OUT",
		"built-in chains are flushed":         "-t nat -F PREROUTING",
		"all is flushed":                      "-t nat -F",
		"a chain is flushed":                  "-t nat -F LVSKIT-OUT",
		"a rule is deleted":                   "-t nat -D LVSKIT-PRE 3",
		"a rule of a hairpin is deleted":      "-t nat -D LVSKIT-POST 1",
		"a rule is deleted in one of two":     "-t nat -D LVSKIT-OUT 2",
		"an exact rule is deleted":            "-t nat -D LVSKIT-PUB 1",
		"exact rules are not jumped to":       "-t nat -D LVSKIT-OUT 1",
		"exact rules are jumped to too late":  "-t nat -D LVSKIT-PRE 1 && BIN -t nat -A LVSKIT-PRE -j LVSKIT-PUB",
		"a chain is deleted":                  "-t nat -F && BIN -t nat -X",
		"a rule is there twice":               "-t nat -A LVSKIT-POST -s 192.168.160.0/24 -o eth1 -j SNAT --to-source 12.0.0.1",
		"a rule of others is in our chain":    "-t nat -I LVSKIT-PRE 3 -m mac --mac-source 00:00:00:00:00:01 -j RETURN",
		"an exact rule is behind the others":  "-t nat -A LVSKIT-PRE -d 12.0.0.1/32 -p tcp -m tcp --dport 3399 -j DNAT --to-destination 10.0.0.1:3399",
		"a range of ports is not shifted":     "-t nat -R LVSKIT-PUB 2 -d 12.0.0.1/32 -p tcp -m tcp --dport 70:79 -m comment --comment shift -j DNAT --to-destination 192.168.160.100:8071-8080",
		"the name says what the line doesn't": "-t nat -R LVSKIT-PUB 1 -d 12.0.0.1/32 -p tcp -m tcp --dport 3344 -m comment --comment \"web hairpin\" -j DNAT --to-destination 192.168.160.100:8080",
	}
	most := len(spoils)
	if need.Emulated() {
		most = 2 // any
	}
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		done := 0
		for name, spoil := range spoils {
			if done++; done > most {
				break
			}
			t.Run(name, func(t *testing.T) {
				restoreAll(t, h, b, others)
				before := saved(t, h, b)
				table := tableOn(t, h, b)
				want := rules(t, ofEveryKind...)
				_, err := table.Apply(t.Context(), want)
				must(t, err)
				good := saved(t, h, b)
				labtest.Run(t, h, "sh", "-c", b.String()+" "+strings.ReplaceAll(spoil, "BIN", b.String()))
				spoiled := saved(t, h, b)
				_, err = table.Apply(t.Context(), want)
				must(t, err)
				if s, err := table.b.read(t.Context()); err != nil || !s.sound {
					t.Errorf("it is not sound: %v\n%s", err, saved(t, h, b))
				}
				// Of exact rules the order does not matter.
				mended := saved(t, h, b)
				flushed := len(theirs(spoiled)) != len(theirs(good))
				if !flushed && sorted(mended) != sorted(good) {
					t.Errorf("mended:\n%s\nwas:\n%s", mended, good)
				}
				must(t, table.Clear(t.Context()))
				if left := saved(t, h, b); !flushed && left != before {
					t.Errorf("left:\n%s\nwas:\n%s", left, before)
				}
			})
		}
	})
}

// sorted is a text with its lines in order.
func sorted(text string) string {
	list := strings.Split(text, "\n")
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func TestIPTablesSurvivesSaveAndRestore(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		table := tableOn(t, h, b)
		want := rules(t, ofEveryKind...)
		_, err := table.Apply(t.Context(), want)
		must(t, err)
		labtest.Run(t, h, "sh", "-c", b.String()+"-save > /dev/shm/nat.$$ && "+b.String()+"-restore < /dev/shm/nat.$$; rm /dev/shm/nat.$$")
		s, err := table.b.read(t.Context())
		if changes, err2 := table.Plan(t.Context(), want); err != nil || !s.sound || err2 != nil || len(changes) > 0 {
			t.Errorf("sound %v %v, changes %v %v", s.sound, err, changes, err2)
		}
	})
}

func TestIPTablesKeepsTablesOfTwoNamesApart(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		var tables []*Table
		for _, name := range []string{"first", "second"} {
			table, err := Open(Config{NetNS: h.Path(), Backend: b, Name: name})
			must(t, err)
			defer table.Close()
			_, err = table.Apply(t.Context(), rules(t, web, a))
			must(t, err)
			tables = append(tables, table)
		}
		for _, table := range tables {
			if s, err := table.b.read(t.Context()); err != nil || !s.sound || len(s.rules) != 2 {
				t.Errorf("%s: %+v %v", table.cfg.Name, s, err)
			}
		}
		must(t, tables[0].Clear(t.Context()))
		if s, err := tables[1].b.read(t.Context()); err != nil || !s.sound {
			t.Errorf("without the first: %v", err)
		}
	})
}

func TestIPTablesNamesTheRuleThatHoldsAChain(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		table := tableOn(t, h, b)
		_, err := table.Apply(t.Context(), rules(t, web))
		must(t, err)
		labtest.Run(t, h, b.String(), "-t", "nat", "-A", "PREROUTING", "-i", "eth9", "-j", "LVSKIT-PRE")
		before := saved(t, h, b)
		if err := table.Clear(t.Context()); err == nil || !strings.Contains(err.Error(), "-A PREROUTING -i eth9 -j LVSKIT-PRE") {
			t.Errorf("got %v", err)
		}
		if after := saved(t, h, b); after != before {
			t.Errorf("left:\n%s\nwas:\n%s", after, before)
		}
	})
}

func TestIPTablesNFTSaysThatATableIsOfNFT(t *testing.T) {
	need.Program(t, "nft")
	h := labtest.Host(t, labtest.New(t), "gateway")
	labtest.Run(t, h, "nft", "add table ip nat; add map ip nat m { type ipv4_addr : ipv4_addr; }; add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }; add rule ip nat POSTROUTING snat to ip saddr map @m")
	_, err := tableOn(t, h, IPTablesNFT).Apply(t.Context(), rules(t, web))
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nft") {
		t.Errorf("got %v", err)
	}
}

// What is wrong with IPv6 matters to rules of IPv6 alone.
func TestIPTablesNFTBesideATableOfNFTOfIPv6(t *testing.T) {
	need.Program(t, "nft")
	h := labtest.Host(t, labtest.New(t), "gateway")
	labtest.Run(t, h, "nft", "add table ip6 nat; add map ip6 nat m { type ipv6_addr : ipv6_addr; }; add chain ip6 nat POSTROUTING { type nat hook postrouting priority 100; }; add rule ip6 nat POSTROUTING snat to ip6 saddr map @m")
	table := tableOn(t, h, IPTablesNFT)
	_, err := table.Apply(t.Context(), rules(t, web))
	must(t, err)
	_, err = table.Apply(t.Context(), rules(t, web, "masquerade: ipv6 out eth1"))
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("got %v", err)
	}
	if changes, err := table.Plan(t.Context(), rules(t, web)); err != nil || len(changes) > 0 {
		t.Errorf("changes %v %v", changes, err)
	}
	must(t, table.Clear(t.Context()))
}

func TestOpenFindsTheVariant(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		labtest.Run(t, h, b.String(), "-A", "INPUT", "-p", "udp", "-j", "ACCEPT")
		if got := tableOn(t, h, IPTables).Backend(); got != b {
			t.Errorf("beside rules of %s: %s", b, got)
		}
		if got := tableOn(t, h, Auto).Backend(); got != NFTables {
			t.Errorf("auto: %s", got)
		}
		_, err := tableOn(t, h, b).Apply(t.Context(), rules(t, "masquerade: ipv6 out eth1"))
		must(t, err)
		if got := tableOn(t, h, Auto).Backend(); got != b {
			t.Errorf("with rules in %s: %s", b, got)
		}
		for _, other := range []Backend{NFTables, IPTablesNFT, IPTablesLegacy} {
			if _, err := Open(Config{NetNS: h.Path(), Backend: other}); errors.Is(err, ErrMixed) != (other != b) {
				t.Errorf("%s beside ours in %s: %v", other, b, err)
			}
		}
	})
}

// Two that were opened before either had rules: only Clear is left.
func TestRulesInTwoBackends(t *testing.T) {
	need.Program(t, IPTablesNFT.String())
	h := labtest.Host(t, labtest.New(t), "gateway")
	kinds := []Backend{NFTables, IPTablesNFT}
	want := rules(t, "masquerade: ipv4 out eth1")
	var tables []*Table
	for _, b := range kinds {
		tables = append(tables, tableOn(t, h, b))
	}
	for _, table := range tables {
		_, err := table.Apply(t.Context(), want)
		must(t, err)
	}
	for _, b := range []Backend{Auto, IPTables, IPTablesLegacy} {
		if _, err := Open(Config{NetNS: h.Path(), Backend: b}); !errors.Is(err, ErrMixed) {
			t.Errorf("%s: got %v", b, err)
		}
	}
	for i, b := range kinds {
		table := tableOn(t, h, b)
		_, err := table.Apply(t.Context(), nil)
		if errors.Is(err, ErrMixed) != (i == 0) {
			t.Errorf("apply by %s: got %v", b, err)
		}
		if err := table.Add(t.Context(), rules(t, "masquerade: ipv4 out eth2")...); errors.Is(err, ErrMixed) != (i == 0) {
			t.Errorf("add by %s: got %v", b, err)
		}
		if list, err := table.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%s has %v, %v", b, list, err)
		}
		must(t, table.Clear(t.Context()))
	}
}

// To ask for a legacy table makes it: nobody who has no rules there does.
func TestOpenMakesNoTable(t *testing.T) {
	need.Program(t, "nft")
	h := labtest.Host(t, labtest.New(t), "gateway")
	for _, b := range []Backend{Auto, NFTables, IPTables, IPTablesNFT, IPTablesLegacy} {
		table := tableOn(t, h, b)
		_, err := table.List(t.Context())
		must(t, err)
		must(t, table.Clear(t.Context()))
	}
	must(t, probeNFTables(tableOn(t, h, NFTables).b.(*nft).namespace))
	if text := labtest.Run(t, h, "sh", "-c", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list ruleset"); strings.TrimSpace(text) != "" {
		t.Errorf("there is %s", text)
	}
}

func TestMissingProgram(t *testing.T) {
	if _, err := findProgram("iptables-none-save"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "install") {
		t.Errorf("got %v", err)
	}
}

// Rules of IPv4 need no ip6tables.
func TestIPTablesWithoutIPv6(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		table := tableOn(t, h, b)
		_, table.b.(*xtables).programs[1].err = findProgram("ip6tables-none-save")
		_, err := table.Apply(t.Context(), rules(t, web))
		must(t, err)
		six := Rule{Action: Masquerade, Family: IPv6, Source: netip.MustParsePrefix("fd00::/64")}
		if err := table.Add(t.Context(), six); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		if list, err := table.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("got %v %v", list, err)
		}
	})
}
