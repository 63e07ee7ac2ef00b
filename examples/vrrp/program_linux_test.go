package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// TestWhatTheProgramTells reads its lines, its status, and what it tells the
// command of -notify.
func TestWhatTheProgramTells(t *testing.T) {
	t.Parallel()
	c := newCell(t, compiled(t), named("v3 IPv4"), "lvskit", "lvskit")
	ours := c.a.(*lvskit)
	told := filepath.Join(ours.dir, "told")
	script := filepath.Join(ours.dir, "notify")
	writeProgram(t, script, []byte("#!/bin/sh\necho \"$@\" >> "+told+"\n"))
	ours.opts.extra = []string{"-notify", script}
	begun := time.Now()
	ours.start(t)
	c.settled(t, ours, begun)

	ours.signal(t, syscall.SIGUSR1)
	var status struct {
		State    string
		VRID     int
		Priority int
		Held     bool
	}
	await(t, "it prints its status", 5*time.Second, func() bool {
		_, text, ok := strings.Cut(ours.process.Output(), "{")
		return ok && json.NewDecoder(strings.NewReader("{"+text)).Decode(&status) == nil
	})
	if status.State != "active" || status.VRID != 51 || status.Priority != high || !status.Held {
		t.Errorf("the status is %+v, want active, VRID 51, priority %d, held", status, high)
	}
	ours.signal(t, syscall.SIGTERM)
	ours.ended(t)
	for _, line := range []string{"initialize -> backup (start)", "backup -> active (timeout)", "active -> initialize (stop)"} {
		if !strings.Contains(ours.process.Output(), "eth0/51: "+line) {
			t.Errorf("the output lacks %q:\n%s", line, ours.process.Output())
		}
	}
	got, err := os.ReadFile(told)
	if want := "backup eth0/51 200\nactive eth0/51 200\ninitialize eth0/51 200\n"; err != nil || string(got) != want {
		t.Errorf("the command was told %q (%v), want %q", got, err, want)
	}
}

// TestTwoCapabilitiesAreEnough runs the program as an ordinary user with those
// that its README names.
func TestTwoCapabilitiesAreEnough(t *testing.T) {
	t.Parallel()
	need.Program(t, "setpriv")
	program := compiled(t)
	for _, name := range []string{"v3 IPv4", "v3 IPv6 virtual MAC"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, program, named(name), "lvskit", "lvskit")
			ours := c.a.(*lvskit)
			needUsers(t)
			ours.program = filepath.Join(ours.dir, "vrrp") // where every user can reach it
			writeProgram(t, ours.program, code)
			args := append([]string{
				"--reuid=65534", "--regid=65534", "--clear-groups",
				"--inh-caps=-all,+net_raw,+net_admin", "--ambient-caps=+net_raw,+net_admin", "--bounding-set=-all,+net_raw,+net_admin", ours.program,
			}, ours.args(t)...)
			for _, dir := range []string{ours.dir, filepath.Dir(ours.dir)} {
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			begun := time.Now()
			ours.process = launch(t, ours.node, "initialize -> ", "setpriv", args...)
			c.settled(t, ours, begun)
			ours.signal(t, syscall.SIGTERM)
			ours.ended(t)
			if ours.node.holds(t, c.mode.vips...) {
				t.Error("it has left a virtual address")
			}
		})
	}
}

// needUsers needs the machine's own root: a user namespace has one user only.
func needUsers(t testing.TB) {
	t.Helper()
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || !slices.Contains(strings.Fields(string(m)), "4294967295") {
		t.Skip("a user namespace has no other user to change to")
	}
}
