package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lvskit/lvskit/ipvs"

	"github.com/vishvananda/netlink"
)

// mark is in the environment of all that this process starts, and of what they
// start, whoever is their parent by then.
const mark = "LVSKIT_QUICKSTART"

func markChildren() { _ = os.Setenv(mark, strconv.Itoa(os.Getpid())) }

// find lists what a run could leave on the machine.
func find(ctx context.Context, kernel bool) (things, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	all := things{}
	for _, l := range links {
		all["interface "+l.Attrs().Name] = ""
	}
	if kernel {
		if err := all.addServices(ctx); err != nil {
			return nil, err
		}
	}
	for _, pattern := range []string{filepath.Join(os.TempDir(), tempPrefix+"*"), "/run/lvskit*", "/run/lvskit/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			all["file "+f] = ""
		}
	}
	children := processes()
	for pid, program := range children {
		all["process "+strconv.Itoa(pid)] = "(" + program + ")"
	}
	for id, holder := range namespaces(children) {
		all["network namespace "+id] = "(held by " + holder + ")"
	}
	return all, nil
}

func (t things) addServices(ctx context.Context) error {
	table, err := ipvs.Open(ipvs.Config{})
	if err != nil {
		return err
	}
	defer table.Close()
	services, err := table.Services(ctx)
	for _, s := range services {
		t["IPVS service "+s.ID.String()] = ""
	}
	return err
}

// processes are those that this one has started, whatever they are now.
func processes() map[int]string {
	found := map[int]string{}
	ours := fmt.Sprintf("\x00%s=%d\x00", mark, os.Getpid())
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || pid == os.Getpid() || !strings.Contains("\x00"+string(env), ours) {
			continue // it has ended, or is another's
		}
		name, _ := os.ReadFile(dir + "/comm")
		found[pid] = strings.TrimSpace(string(name))
	}
	return found
}

// namespaces are the network namespaces that this process and its children hold, as
// that of a thread or by a descriptor, and those that are held by a file: each with
// one of those who hold it.
func namespaces(children map[int]string) map[string]string {
	held := map[string]string{}
	patterns := []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"}
	for pid := range children {
		patterns = append(patterns, fmt.Sprintf("/proc/%d/ns/net", pid), fmt.Sprintf("/proc/%d/fd/*", pid))
	}
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if id, err := os.Readlink(file); err == nil && strings.HasPrefix(id, "net:") {
				held[id] = file
			}
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		for _, field := range strings.Fields(line) {
			if strings.HasPrefix(field, "net:[") {
				held[field] = "a file"
			}
		}
	}
	return held
}

// modules are those that the kernel has loaded.
func modules() things {
	loaded := things{}
	text, _ := os.ReadFile("/proc/modules")
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		loaded[name] = ""
	}
	return loaded
}
