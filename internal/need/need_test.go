package need

import "testing"

func TestPromised(t *testing.T) {
	for _, tt := range []struct {
		list, kind string
		want       bool
	}{
		{"", "root", false},
		{"root", "root", true},
		{"root,program", "program", true},
		{"root,program", "ipvs", false},
		{"all", "ipvs", true},
		{"roots", "root", false},
	} {
		if got := promised(tt.list, tt.kind); got != tt.want {
			t.Errorf("promised(%q, %q) is %v, want %v", tt.list, tt.kind, got, tt.want)
		}
	}
}

// recorder stands for the test that a need decides on.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Skip(...any)           { r.skipped = true }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func TestAMissingThingSkipsUnlessPromised(t *testing.T) {
	decide := func(promise string) (r *recorder) {
		t.Setenv(Promised, promise)
		r = &recorder{}
		defer func() { _ = recover() }()
		Program(r, "a-program-that-nobody-has")
		return r
	}
	if r := decide("root"); !r.skipped || r.failed {
		t.Errorf("without a promise: skipped %v, failed %v; want a skip", r.skipped, r.failed)
	}
	if r := decide("root,program"); r.skipped || !r.failed {
		t.Errorf("with a promise: skipped %v, failed %v; want a failure", r.skipped, r.failed)
	}
}

func TestEmulated(t *testing.T) {
	for promised, want := range map[string]bool{"": false, "root,program": false, "all": true, "root,machine": true} {
		t.Setenv(Promised, promised)
		if Emulated() != want {
			t.Errorf("with %q promised it is %v", promised, !want)
		}
	}
}
