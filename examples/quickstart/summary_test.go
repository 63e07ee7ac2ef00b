package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/examples/internal/director"
)

func sample() result {
	return result{
		Dataplane: director.Kernel, Reason: "the kernel has it", Requests: 1503, Failed: 131,
		TakeoverMS: 805.2, BoundMS: 912.1, SilenceMS: 912.4, OutageMS: 960.8, ServerOutMS: 1390.5, ServerOutBoundMS: 1550,
		Phases: []phase{
			{Name: "all is well", Requests: 1300},
			{Name: "web2 is dead", Why: "it finds nobody", Requests: 120, Failed: 46},
			{Name: "director2 is alone", Requests: 83, Failed: 85},
		},
		Answers:    map[string]int{"web1": 700, "web3": 672},
		Causes:     map[string]int{"no answer within 1s": 129, "connection reset": 2},
		LeftBehind: []string{}, ModulesLoaded: []string{"ip_vs_rr"},
		interval: 250 * time.Millisecond,
	}
}

func TestSummaryInPlainWords(t *testing.T) {
	want := `
dataplane     kernel: the kernel has it.
take-over     The other director took over 805 ms after the death of the Active one: within the
              protocol's bound of 912 ms (3 advertisement intervals of 250ms and a skew of 162 ms,
              RFC 9568, section 6.1). It counts from the last advertisement of the dead one, which
              was 912.4 ms ago then. The client had an answer again 961 ms after the death.
dead server   It was out of the pool 1390 ms after its death, as its check promises: at most 1550 ms
              (a probe each 500ms, and 2 of them that fail after 500ms each).
requests      1503 sent, 1372 answered (web1: 700, web3: 672), 131 lost (connection reset: 2, no
              answer within 1s: 129).
              - 46 of 120 while web2 is dead: it finds nobody.
              - 85 of 83 while director2 is alone: this is not expected.
left behind   nothing: no network namespace, process, interface, IPVS service or file is there that
              was not there before.
              The kernel keeps the modules that it has loaded for this: ip_vs_rr.
`
	same(t, strings.Split(sample().words(0), "\n"), strings.Split(want, "\n"))
	for line := range strings.Lines(sample().words(60)) {
		if len(strings.TrimSuffix(line, "\n")) > 60 {
			t.Errorf("wider than 60 columns: %q", line)
		}
	}
}

func TestSummaryInUserspaceSpeaksOfNoIPVS(t *testing.T) {
	r := sample()
	r.Dataplane, r.Reason, r.ModulesLoaded = director.Userspace, "the kernel has no ip_vs", nil
	if text := r.words(0); strings.Contains(text, "IPVS") || !strings.Contains(text, "userspace: the kernel has no ip_vs.") {
		t.Errorf("the summary is\n%s", text)
	}
}

func TestSummaryDoesNotFlatter(t *testing.T) {
	r := sample()
	r.TakeoverMS, r.ServerOutMS, r.StalledMS = 1000, 1600, 234.5
	r.LeftBehind = []string{"file /tmp/x", "process 7 (director)"}
	text := strings.Join(strings.Fields(r.words(0)), " ")
	for _, want := range []string{"87.9 ms above the protocol's bound", "later than its check promises", "stood still for up to 234 ms", "left behind file /tmp/x, process 7 (director)."} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
}

func TestSummaryOfAHeldClusterTellsOfNoDeath(t *testing.T) {
	r := sample()
	r.held = true
	if text := r.words(0); strings.Contains(text, "take-over") || !strings.Contains(text, "1503 sent") {
		t.Errorf("the summary is\n%s", text)
	}
}

func TestResultAsJSON(t *testing.T) {
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"dataplane":"kernel"`, `"requests":1503`, `"failed":131`, `"takeover_ms":805.2`, `"bound_ms":912.1`,
		`"server_out_ms":1390.5`, `"left_behind":[]`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the object lacks %s:\n%s", want, text)
		}
	}
}

func TestLeftIsWhatWasNotThereBefore(t *testing.T) {
	left := since(things{"interface lo": "", "file /tmp/a": ""}, things{"interface lo": "", "process 7": "(director)", "file /tmp/b": ""})
	same(t, left, []string{"file /tmp/b", "process 7 (director)"})
	if left := since(nil, nil); left == nil {
		t.Error("nothing is nil, which JSON shows as null")
	}
}
