// Package debian installs packages on a Debian machine and fetches Debian's
// kernels without installing them, by apt-get, apt-cache and dpkg-deb.
//
// It is not a library of apt: it knows the few calls that internal/cmd/vmtest
// needs, and each error carries what apt itself said.
//
// How it flows: packages.go tells what is missing and installs it, services.go
// keeps an installed service from starting; kernels.go finds the newest kernel of
// a series in the archives, fetch.go downloads and unpacks it.
package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Here tells whether this machine has Debian's package tools.
func Here() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil
}

// run runs a program in dir and returns its standard output; the error has the
// last lines of its standard error.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "RUNLEVEL=1")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(stderr.String(), 10))
	}
	return stdout.String(), nil
}

// tail is the last n lines of s, without the line end.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
