package debian

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// policyFile is asked by invoke-rc.d and deb-systemd-invoke before a package's
// scripts start a service; exit status 101 forbids it.
const policyFile = "/usr/sbin/policy-rc.d"

// systemdHere exists where systemd is the running init.
const systemdHere = "/run/systemd/system"

// denyServices forbids the start of services until the returned function is
// called. A policy that the machine has already is left alone.
func denyServices(path string) (allow func(), err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return func() { os.Remove(path) }, nil
}

// disable keeps the units of newly installed packages from running at the next
// boot, and stops them if the machine's own policy let them start.
func disable(ctx context.Context, packages []Package) error {
	if _, err := os.Stat(systemdHere); err != nil {
		return nil
	}
	for _, p := range packages {
		if p.Unit == "" {
			continue
		}
		if _, err := run(ctx, "", "systemctl", "disable", "--now", p.Unit); err != nil {
			return err
		}
	}
	return nil
}
