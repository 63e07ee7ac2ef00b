package main

import (
	"bytes"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		ok   func(options) bool
	}{
		{"all stages, one kernel and all packages by default", nil, func(o options) bool {
			return len(o.only) == 3 && slices.Equal(o.kernels, []string{"6.12"}) && slices.Equal(o.patterns, []string{"./..."}) && o.run == ""
		}},
		{"some stages", []string{"-only", "checks,vm"}, func(o options) bool {
			return o.only["checks"] && o.only["vm"] && !o.only["machine"]
		}},
		{"all kernels", []string{"-kernel", "all", "./ipvs"}, func(o options) bool {
			return slices.Equal(o.kernels, []string{"6.12", "6.1"}) && slices.Equal(o.patterns, []string{"./ipvs"})
		}},
		{"benchmarks without tests", []string{"-bench", "."}, func(o options) bool { return o.run == "^$" }},
		{"benchmarks with tests", []string{"-bench", ".", "-run", "X"}, func(o options) bool { return o.run == "X" }},
	}
	for _, tt := range tests {
		if o, err := parse(tt.args, new(bytes.Buffer)); err != nil || !tt.ok(o) {
			t.Errorf("%s: got %+v, %v", tt.name, o, err)
		}
	}
}

func TestParseSaysWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{"-only", "lab"}, {"-kernel", "5.10"}, {"-nope"}} {
		var stderr bytes.Buffer
		if _, err := parse(args, &stderr); err == nil || stderr.Len() == 0 {
			t.Errorf("%q: error %v, printed %q", args, err, &stderr)
		}
	}
}
