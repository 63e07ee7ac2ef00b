package nat

import (
	"testing"

	"github.com/lvskit/lvskit/internal/need"
)

// TestFlowsOfIPVS has a client of UDP keep its socket while rules change around IPVS,
// which rewrites its flow: it is left alone, unless a rule of its source changes.
func TestFlowsOfIPVS(t *testing.T) {
	need.IPVS(t)
	need.Program(t, "ipvsadm")
	for _, v6 := range []bool{false, true} {
		r := newIPVSRig(t, v6)
		r.table = tableOn(t, r.director, NFTables)
		r.conntrack("1")
		vip := r.endpoint("100", 80)
		beside := "dnat: udp destination " + r.endpoint("100", 82) + " to " + r.addr("in20")
		full := "snat: udp original " + vip + " destination " + r.endpoint("in20", 8080) + " to " + r.addr("in1")
		r.apply(beside)
		c := newClient(t, r.client, vip)
		c.wants("IPVS alone", r.addr("12"))
		before := flows(t, r.director, UDP)
		if len(before) == 0 {
			t.Fatal("the flow is not tracked")
		}
		r.apply(beside, "dnat: tcp destination "+r.endpoint("100", 83)+" to "+r.addr("in20"), "masquerade: source "+r.addr("in30"))
		r.apply("masquerade: source " + r.addr("in30"))
		after := flows(t, r.director, UDP)
		for key, id := range before {
			if after[key] != id {
				t.Errorf("%s: the flow of IPVS was %s, is %s", key, id, after[key])
			}
		}
		r.apply(full)
		c.wants("full NAT", r.addr("in1"))
		before = flows(t, r.director, UDP)
		r.apply(full, beside)
		if after := flows(t, r.director, UDP); len(after) != len(before) {
			t.Errorf("flows were %v, are %v", before, after)
		}
		r.apply()
		c.wants("IPVS alone again", r.addr("12"))
	}
}
