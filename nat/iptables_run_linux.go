package nat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/internal/netns"
	"golang.org/x/sys/unix"
)

// xtPrograms are those of one variant and family.
type xtPrograms struct {
	save, restore string // paths
	err           error  // what is missing
}

// findPrograms looks for them in PATH, and where administrators' programs are. Where
// they have no variant in their names, they are asked which they are.
func findPrograms(variant Backend, v6 bool) (p xtPrograms) {
	prefix := "iptables"
	if v6 {
		prefix = "ip6tables"
	}
	suffix := strings.TrimPrefix(variant.String(), "iptables") // -nft or -legacy
	for _, prefix := range []string{prefix + suffix, prefix} {
		var err error
		if p.save, err = findProgram(prefix + "-save"); err == nil {
			p.restore, err = findProgram(prefix + "-restore")
		}
		if err == nil && !strings.HasSuffix(prefix, suffix) {
			err = isVariant(p.restore, variant)
		}
		if err == nil {
			p.err = nil
			break
		}
		if p.err == nil || !errors.Is(err, fs.ErrNotExist) {
			p.err = err
		}
	}
	return p
}

// isVariant asks a program for its variant and version: "iptables-restore v1.8.9
// (nf_tables)". Older ones than 1.8 know of one variant; older ones than 1.6.2 do
// not take the lock.
func isVariant(path string, variant Backend) error {
	ctx, cancel := context.WithTimeout(context.Background(), openMost)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-V").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", path, err)
	}
	is, old := parseVersion(string(out))
	switch {
	case is != variant:
		return fmt.Errorf("%s is %s: install the program of %s: %w", path, is, variant, fs.ErrNotExist)
	case old:
		return fmt.Errorf("%s does not take the lock of iptables: 1.6.2 or newer does: %w", path, errors.ErrUnsupported)
	}
	return nil
}

// parseVersion reads what iptables or iptables-restore says of itself.
func parseVersion(text string) (variant Backend, old bool) {
	variant = IPTablesLegacy
	if strings.Contains(text, "(nf_tables)") {
		variant = IPTablesNFT
	}
	m := versionNumbers.FindStringSubmatch(text)
	if m == nil {
		return variant, false
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[1+i])
	}
	return variant, slices.Compare(n[:], []int{1, 6, 2}) < 0
}

var versionNumbers = regexp.MustCompile(`v(\d+)\.(\d+)(?:\.(\d+))?`)

func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return "", fmt.Errorf("the program %s is missing: install the package iptables: %w", name, fs.ErrNotExist)
	}
	return path, nil
}

// systemProtocols are the names of /etc/protocols. iptables asks the same file.
func systemProtocols() map[string]Protocol {
	text, _ := os.ReadFile("/etc/protocols") // without it, iptables writes numbers
	return parseProtocols(string(text))
}

// run runs a program in the namespace, and returns what it wrote. When the context
// ends, or this process does, the program is killed: before its commit or behind it, and
// never later.
func (b *xtables) run(ctx context.Context, program string, args []string, input string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err := b.do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		b.own.add(cmd.Process.Pid)
		return cmd.Wait()
	})
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	text := strings.TrimSpace(stderr.String())
	if text == "" {
		return "", fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return "", newProgramError(filepath.Base(program), text, netns.Capable(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW))
}

// do calls f in the namespace, with the thread held: the program is killed when the
// thread ends that started it.
func (ns namespace) do(f func() error) error {
	if ns.here() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return f()
	}
	return netns.DoFile(ns.file, f)
}

// here tells whether the namespace is that of this process, where no right is needed to
// enter it.
func (ns namespace) here() bool {
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return false
	}
	there, err := ns.file.Stat()
	return err == nil && os.SameFile(own, there)
}

// programError is what a program said when it failed.
type programError struct {
	program, text string
	err           error // what it means, or nil
}

// newProgramError finds out what a text means, to somebody with the rights or without.
func newProgramError(program, text string, rights bool) *programError {
	e := &programError{program: program, text: text}
	for _, s := range []struct {
		text string
		err  error
	}{
		{"Permission denied", fs.ErrPermission},
		{"Operation not permitted", fs.ErrPermission},
		{"unable to initialize table", errors.ErrUnsupported}, // the same without rights
		{"do you need to insmod", errors.ErrUnsupported},
		{"missing kernel module", errors.ErrUnsupported},
		{"unknown option", errors.ErrUnsupported},
		{"Failed to initialize nft", errors.ErrUnsupported},
		{"Protocol not supported", errors.ErrUnsupported},
	} {
		if e.err == nil && strings.Contains(text, s.text) {
			e.err = s.err
		}
	}
	if e.err != nil && !rights {
		e.err = fs.ErrPermission
	}
	return e
}

func (e *programError) Error() string {
	text := e.program + ": " + strings.Join(strings.Fields(e.text), " ")
	switch e.err {
	case fs.ErrPermission:
		text += ": CAP_NET_ADMIN and CAP_NET_RAW are needed, and for iptables-legacy the right to write its lock"
	case errors.ErrUnsupported:
		text += ": the kernel or the program is too old, or has no NAT for this variant of iptables: use another backend"
	}
	return text
}

// Unwrap is what it means.
func (e *programError) Unwrap() error { return e.err }

var (
	errorLine = regexp.MustCompile(`line:? (\d+)`)

	// errIncompatible is a table nat that somebody filled by nft.
	errIncompatible = fmt.Errorf("the table nat has rules or chains that only nft understands, and iptables-nft cannot show it: move them to another table, or use NFTables: %w", errors.ErrUnsupported)
)

func incompatible(saved string) bool {
	return strings.Contains(saved, "is incompatible, use 'nft' tool")
}

// hint adds the line of the input that was refused.
func hint(err error, input string) error {
	var failed *programError
	if !errors.As(err, &failed) || failed.err != nil {
		return err
	}
	m := errorLine.FindStringSubmatch(failed.text)
	if m == nil {
		return err
	}
	n, _ := strconv.Atoi(m[1])
	lines := strings.Split(input, "\n")
	if n < 1 || n > len(lines) || lines[n-1] == "COMMIT" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, lines[n-1])
}

// legacyTables are those that the kernel has in this namespace. To ask the program for
// another one would make it.
func (b *xtables) legacyTables(family int) (tables []string, err error) {
	err = b.do(func() error {
		names, err := os.ReadFile([]string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"}[family])
		tables = strings.Fields(string(names))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("ask the kernel for the tables of iptables-legacy: %w", err)
	}
	return tables, err
}
