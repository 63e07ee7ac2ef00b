package sysctl

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// history reads "key:old>new" words.
func history(t *testing.T, words string) []Change {
	t.Helper()
	var changes []Change
	for word := range strings.FieldsSeq(words) {
		key, values, _ := strings.Cut(word, ":")
		before, after, _ := strings.Cut(values, ">")
		changes = append(changes, Change{Key: key4(t, key), Old: before, New: after})
	}
	return changes
}

func TestUndo(t *testing.T) {
	for _, tt := range []struct{ name, changes, have, writes, left string }{
		{"still ours", "a/a:0>1", "a/a=1", "a/a=0", ""},
		{"back already", "a/a:0>1", "a/a=0", "", ""},
		{"foreign", "a/a:0>1", "a/a=2", "", "a/a=1"},
		{"gone", "a/a:0>1", "", "", ""},
		{"the last first", "a/a:0>1 a/b:0>1", "a/a=1 a/b=1", "a/b=0 a/a=0", ""},
		{"tabs and spaces", "a/a:0>1-2,4", "a/a=1-2,4", "a/a=0", ""},
		{"changed twice by us", "a/a:0>1 a/a:1>2", "a/a=2", "a/a=0", ""},
		{"changed twice, killed before the second", "a/a:0>1 a/a:1>2", "a/a=1", "a/a=0", ""},
		{"changed twice, back", "a/a:0>1 a/a:1>2", "a/a=0", "", ""},
		{"a foreign value between: back to that", "a/a:0>1 a/a:5>1", "a/a=1", "a/a=5", ""},
		{"a foreign value between, there again", "a/a:0>1 a/a:5>1", "a/a=5", "", ""},
		{"there and back by us", "a/a:0>1 a/a:1>0", "a/a=0", "", ""},
		{"the other name", "ip_forward:0>1 conf/all/forwarding:1>0", "ip_forward=0 conf/all/forwarding=0", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			back, left := planUndo(values(t, tt.have), history(t, tt.changes))
			writes := slices.DeleteFunc(back, func(c Change) bool { return c.Old == c.New })
			if commands(writes) != tt.writes || commands(left) != tt.left {
				t.Errorf("writes %q, left %q, want %q and %q", commands(writes), commands(left), tt.writes, tt.left)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	var r record
	r.Boot, r.NetNS = "boot", "ns"
	for range 100 { // another program sets it back again and again
		r = r.with(history(t, "a/a:0>1"))
		r = r.with(history(t, "a/b:0>1 a/c:0>1"))
	}
	if got := commands(r.Changes); got != "a/a=1 a/b=1 a/c=1" {
		t.Errorf("the record grew: %s", got)
	}
	data, err := r.format()
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseRecord(data, "boot", "ns")
	if diff := cmp.Diff(r, back, cmp.AllowUnexported(Key{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, id := range [][2]string{{"next boot", "ns"}, {"boot", "another ns"}} {
		if other, err := parseRecord(data, id[0], id[1]); err != nil || len(other.Changes) != 0 {
			t.Errorf("in %v it has %v, error %v", id, other.Changes, err)
		}
	}
	if got := commands(r.without(history(t, "a/a:0>1 a/b:0>1"), []Key{key4(t, "a/b")}).Changes); got != "a/b=1 a/c=1" {
		t.Errorf("without a/a, and a/b that failed: %s", got)
	}
	for _, bad := range []string{"{", `{"changes":[{"key":"../x"}]}`, "[]"} {
		if _, err := parseRecord([]byte(bad), "boot", "ns"); err == nil || !contains(err.Error(), "remove it") {
			t.Errorf("%q: error %v does not say what to do", bad, err)
		}
	}
	if empty, err := parseRecord(nil, "boot", "ns"); err != nil || len(empty.Changes) != 0 {
		t.Errorf("an empty file: %v, %v", empty, err)
	}
}
