package health

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWhatAnExitCodeMeans(t *testing.T) {
	pass := func(w Weight) (Report, bool) { return Report{Weight: w}, true }
	for code := -1; code <= 300; code++ {
		want, ok := Report{}, code == 0
		report, err := Script{}.conclude(ending{code: code}, "")
		if report != want || ok != (err == nil) {
			t.Errorf("%d: got %v, %v", code, report, err)
		}
		if code >= 2 && code <= 255 {
			want, ok = pass(Weight{SetWeight, code - 2})
		}
		report, err = Script{Dynamic: true}.conclude(ending{code: code}, "")
		if report != want || ok != (err == nil) {
			t.Errorf("dynamic %d: got %v, %v", code, report, err)
		}
		var exit *ExitError
		if !ok && (!errors.As(err, &exit) || exit.Code != code) {
			t.Errorf("%d: got %v", code, err)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	for _, sizes := range [][]int{{}, {0}, {1, 2, 3}, {outputMax}, {outputMax + 1}, {outputMax - 1, 2}, {5 * outputMax, 1}, {1000, 1000, 1000, 7}} {
		var all strings.Builder
		var out tail
		for i, size := range sizes {
			part := strings.Repeat(string(rune('a'+i)), size)
			all.WriteString(part)
			if n, err := out.Write([]byte(part)); n != size || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		want := all.String()
		if want = want[max(len(want)-outputMax, 0):]; out.String() != want {
			t.Errorf("%v: kept %d bytes, want %d", sizes, len(out.String()), len(want))
		}
		if cap(out.buf) > 4*outputMax {
			t.Errorf("%v: takes %d bytes", sizes, cap(out.buf))
		}
	}
}

func TestTheErrorOfAScript(t *testing.T) {
	e := &ExitError{Code: 3, Status: "exit status 3", Output: " curl: (7)\n\x1b[31m refused\n"}
	if got, want := e.Error(), `exit status 3: it says "curl: (7)\n\x1b[31m refused"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (&ExitError{Status: "signal: killed", Output: "\n"}).Error(); got != "signal: killed" {
		t.Errorf("got %s", got)
	}
}

func TestWhatKeepsAScriptFromRunning(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool // inconclusive
	}{
		{syscall.EAGAIN, true},
		{syscall.ENOMEM, true},
		{syscall.EMFILE, true},
		{syscall.EPERM, true},
		{syscall.ENOENT, false},
		{syscall.EACCES, false},
		{syscall.ENOTDIR, false},
		{exec.ErrNotFound, false},
	} {
		err := scriptFault(&fs.PathError{Op: "fork/exec", Path: "/x", Err: tt.err})
		if errors.Is(err, ErrInconclusive) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v: got %v", tt.err, err)
		}
	}
}

func TestInvalidScripts(t *testing.T) {
	for _, s := range []Script{
		{},
		{Path: "a\x00b"},
		{Path: "true", Args: []string{"a\x00b"}},
		{Path: "true", Env: []string{"a\x00b=c"}},
		{Path: "true", Dir: "\x00"},
	} {
		if err := s.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: Validate says %v", s.Path, err)
		}
		if _, err := s.Probe(t.Context()); !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, ErrInconclusive) {
			t.Errorf("%q: Probe says %v", s.Path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Script{Path: "true"}).Probe(ctx); !errors.Is(err, ErrInconclusive) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestGrace(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 2 * time.Second, -1: 0, 5: 5} {
		if got := (Script{Grace: given}).grace(); got != want {
			t.Errorf("%v: got %v, want %v", given, got, want)
		}
	}
}
