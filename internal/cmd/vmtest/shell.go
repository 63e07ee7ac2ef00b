package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lvskit/lvskit/internal/vm"
)

// prompt boots a machine for a person: an interactive shell in the module's
// folder, or the commands of -exec or, when the standard input is not a
// terminal, those in it.
func (s *session) prompt(ctx context.Context) error {
	m, err := s.machine(ctx, s.kernels[0])
	if err != nil {
		return err
	}
	s.programs(ctx)
	m.Script = fmt.Sprintf("export PATH=%s/bin:$PATH LVSKIT_BIN=%[1]s/bin\ncd %s\n", vm.GuestIn, quote(s.module.Dir))
	commands := []byte(s.exec)
	if s.exec == "" {
		rows, cols, ok := terminal()
		if ok {
			return s.interactive(ctx, m, rows, cols)
		}
		if commands, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(m.In, "commands"), commands, 0o644); err != nil {
		return err
	}
	m.Script += fmt.Sprintf("bash %s/commands > %s/0.log 2>&1\necho $? > %[2]s/0.exit\n", vm.GuestIn, vm.GuestOut)
	return runCommands(ctx, m)
}

// interactive runs a shell on the terminal.
func (s *session) interactive(ctx context.Context, m vm.Machine, rows, cols string) error {
	m.Interactive = true
	m.Script += fmt.Sprintf("stty -F /dev/ttyS0 rows %s cols %s\nexport TERM=%s\n", rows, cols, quote(or(os.Getenv("TERM"), "vt100")))
	m.Script += "setsid -c bash -i < /dev/ttyS0 > /dev/ttyS0 2>&1\n"
	s.line("note", "exit or Ctrl-D switches the machine off, Ctrl-A X kills it", "")
	return m.Run(ctx)
}

// runCommands runs a machine and prints what its script leaves in 0.log as it grows.
func runCommands(ctx context.Context, m vm.Machine) error {
	off, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(off)
		result <- m.Run(ctx)
	}()
	name := filepath.Join(m.Out, "0")
	_, copyErr := io.Copy(os.Stdout, &growing{path: name + ".log", whole: name + ".exit", off: off})
	if err := errors.Join(<-result, copyErr); err != nil {
		return err
	}
	status, err := os.ReadFile(name + ".exit")
	if code := strings.TrimSpace(string(status)); err == nil && code != "0" {
		err = fmt.Errorf("the commands ended with exit status %s", code)
	}
	return err
}

// terminal is the size of the terminal at the standard input, if it is one.
func terminal() (rows, cols string, ok bool) {
	cmd := exec.Command("stty", "size")
	cmd.Stdin = os.Stdin
	out, err := cmd.Output()
	if err != nil {
		return "", "", false
	}
	rows, cols, ok = strings.Cut(strings.TrimSpace(string(out)), " ")
	if rows == "0" { // a terminal that does not know
		return "24", "80", ok
	}
	return rows, cols, ok
}
