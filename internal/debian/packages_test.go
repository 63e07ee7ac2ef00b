package debian

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program := filepath.Join(dir, "lvskit-here")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		p       Package
		missing bool
	}{
		{"a program in PATH", Package{Has: "lvskit-here"}, false},
		{"a program that is nowhere", Package{Has: "lvskit-nowhere"}, true},
		{"a file", Package{Has: program}, false},
		{"a file that is not there", Package{Has: program + "x"}, true},
		{"a program that is not linked statically", Package{Has: "lvskit-here", Static: true}, true},
	}
	for _, tt := range tests {
		if got := len(Missing([]Package{tt.p})) == 1; got != tt.missing {
			t.Errorf("%s: missing is %v", tt.name, got)
		}
	}
}

func TestServicesAreDeniedOnlyMeanwhile(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	allow, err := denyServices(policy)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(policy); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the policy is not a program: %v", err)
	}
	allow()
	if _, err := os.Stat(policy); !os.IsNotExist(err) {
		t.Errorf("the policy is left behind: %v", err)
	}
}

func TestThePolicyOfTheMachineIsLeftAlone(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	if err := os.WriteFile(policy, []byte("its own"), 0o755); err != nil {
		t.Fatal(err)
	}
	allow, err := denyServices(policy)
	if err != nil {
		t.Fatal(err)
	}
	allow()
	if text, err := os.ReadFile(policy); err != nil || string(text) != "its own" {
		t.Errorf("the policy is now %q, %v", text, err)
	}
}

func TestCommandIsWhatAPersonTypes(t *testing.T) {
	got := Command([]Package{{Name: "kmod"}, {Name: "curl"}})
	if want := "sudo apt-get install --no-install-recommends kmod curl"; got != want {
		t.Errorf("got %q", got)
	}
}
