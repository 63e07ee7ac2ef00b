package sysctl

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvskit/lvskit/internal/need"
)

func TestDirectorsOnIPVS(t *testing.T) {
	need.IPVS(t)
	ns := newNS(t, [2]string{"eth0", "eth1"})
	c := newClient(t, Config{NetNS: ns})
	d := Director{Interfaces: []string{"eth0", "eth1"}, IPv4: true, IPv6: true, Conntrack: true, RealServer: true}
	want := append(AnyDirector(), DirectorNAT(d)...)
	keys := Keys(want)
	before := peek(t, c, keys...)
	changes := apply(t, c, want)
	if findings, err := c.Check(t.Context(), want); err != nil || len(findings) != 0 {
		t.Errorf("findings %v, error %v", findings, err)
	}
	for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template", "conntrack", "backup_only"} {
		if v := peek(t, c, IPVS(name))[IPVS(name)]; v != "1" {
			t.Errorf("%s is %q", name, v)
		}
	}
	_, left := restore(t, c, changes)
	if diff := cmp.Diff(before, peek(t, c, keys...), cmp.AllowUnexported(Key{})); diff != "" || len(left) != 0 {
		t.Errorf("not as before: left %v\n%s", left, diff)
	}
}

// The limits of net/ipv4/vs hold for what the kernel has by itself.
func TestIPVSDefaultsAreWithinLimits(t *testing.T) {
	need.IPVS(t)
	c := newClient(t, Config{NetNS: newNS(t)})
	found := 0
	for path, limit := range limits {
		k := key4(t, path)
		if filepath.Dir(path) != "net/ipv4/vs" {
			continue
		}
		if v, ok := peek(t, c, k)[k]; ok {
			found++
			if !limit.Allows(v) {
				t.Errorf("%s is %s, and the limit is %s", k, v, limit)
			}
		}
	}
	if found < 15 {
		t.Errorf("the kernel has only %d of our keys", found)
	}
}

// The neighbour tables are there in the machine's own namespace; nothing is
// written to it here.
func TestAnyDirectorPlansNeighbourTables(t *testing.T) {
	need.Root(t)
	if _, err := os.Stat("/proc/sys/net/ipv4/neigh/default"); err != nil {
		t.Skip("not in the machine's first network namespace")
	}
	c := newClient(t, Config{})
	var tables []Setting
	for _, s := range AnyDirector() {
		if s.Key.Interface() == "default" {
			tables = append(tables, s)
		}
	}
	have := peek(t, c, Keys(tables)...)
	if len(have) != len(tables) || len(tables) != 6 {
		t.Errorf("have %v of %v", have, tables)
	}
	plan, err := c.Plan(t.Context(), tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range plan {
		have[ch.Key] = ch.New
	}
	for _, s := range tables {
		if !s.Want.Allows(have[s.Key]) {
			t.Errorf("%s would be %s", s, have[s.Key])
		}
	}
}
