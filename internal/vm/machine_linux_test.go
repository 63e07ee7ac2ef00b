package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a machine whose QEMU is a shell script in the folder Out, so that it
// can write there what the inside of a machine writes.
func fake(t *testing.T, script string) Machine {
	t.Helper()
	m := Machine{In: t.TempDir(), Out: t.TempDir(), QEMU: filepath.Join(t.TempDir(), "qemu")}
	text := fmt.Sprintf("#!/bin/sh\ncd '%s'\n%s\n", m.Out, script)
	if err := os.WriteFile(m.QEMU, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMachineIsJudged(t *testing.T) {
	const short, long = 300 * time.Millisecond, time.Hour
	all := Limits{Boot: long, Silence: long, Total: long, Halt: long}
	with := func(set func(*Limits)) Limits { l := all; set(&l); return l }
	tests := []struct {
		name   string
		script string
		limits Limits
		want   string // "" is success
	}{
		{"done and off is success", "echo > ready; echo > done", all, ""},
		{"done and still on is success", "echo > ready; echo > done; exec sleep 1000", with(func(l *Limits) { l.Halt = short }), ""},
		{"not booted", "exec sleep 1000", with(func(l *Limits) { l.Boot = short }), "did not boot in 300ms"},
		{"booted and silent", "echo > ready; exec sleep 1000", with(func(l *Limits) { l.Silence = short }), "no sign of life for 300ms"},
		{
			"alive without end", "echo > ready; n=0; while :; do n=$((n+1)); echo $n > beat; sleep 0.05; done",
			with(func(l *Limits) { l.Silence, l.Total = long, 3*short }), "not done in 900ms",
		},
		{"off before it is done", "echo > ready", all, "went off before its script ended"},
		{"off before it has booted", "true", all, "went off before it had booted"},
		{"QEMU does not like its arguments", "exit 1", all, "the machine died: exit status 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := fake(t, "echo the last words\n"+tt.script)
			m.Limits = tt.limits
			err := m.Run(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var f *Failure
			if !errors.As(err, &f) || !strings.Contains(f.Why, tt.want) || f.Console != "the last words" {
				t.Errorf("got %v, want %q and the console", err, tt.want)
			}
		})
	}
}

func TestAMachineEndsWithItsContext(t *testing.T) {
	m := fake(t, "echo > ready; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	if err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAMachineWithoutQEMUSaysWhatToInstall(t *testing.T) {
	m := Machine{In: t.TempDir(), Out: t.TempDir(), QEMU: "no-such-qemu"}
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "install qemu-system-x86") {
		t.Errorf("got %v", err)
	}
}

func TestShareWritesWhatTheMachineStartsFrom(t *testing.T) {
	m := fake(t, "echo > ready; echo > done")
	m.Script, m.Source = "echo hello\n", "/tmp/checkout"
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"script": m.Script, "source": "/tmp/checkout\n", "start": string(startScript)} {
		if got, err := os.ReadFile(filepath.Join(m.Out, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestTwoCannotLockOneCache(t *testing.T) {
	cache := t.TempDir()
	unlock, err := lock(cache)
	if err != nil {
		t.Fatal(err)
	}
	locked := make(chan func())
	go func() {
		second, err := lock(cache)
		if err != nil {
			t.Error(err)
		}
		locked <- second
	}()
	select {
	case <-locked:
		t.Fatal("the second has the lock beside the first")
	case <-time.After(100 * time.Millisecond):
	}
	unlock()
	(<-locked)()
}
