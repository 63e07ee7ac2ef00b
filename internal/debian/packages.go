package debian

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Package is something this machine should have.
type Package struct {
	Name   string // the Debian package
	Has    string // a program of it, or the absolute path of a file of it
	Static bool   // the program must be linked statically
	Unit   string // the systemd unit that it brings and that must not run for us
	Why    string // what it is for
}

// sbin are the folders of an administrator's programs, which are often missing
// in a user's PATH.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Missing are the packages of want that this machine lacks.
func Missing(want []Package) []Package {
	var missing []Package
	for _, p := range want {
		if path, ok := find(p.Has); !ok || p.Static && !static(path) {
			missing = append(missing, p)
		}
	}
	return missing
}

// find is the path of a program, or of a file given by its absolute path.
func find(name string) (string, bool) {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return name, err == nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// static tells whether the program asks for no dynamic linker.
func static(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

// Install installs the packages without what they recommend. Their services are
// neither started now nor enabled for the next boot. It takes root.
//
// The package lists are brought up to date only if the first attempt finds them
// too old (or absent, as in a fresh container).
func Install(ctx context.Context, packages []Package) error {
	allow, err := denyServices(policyFile)
	if err != nil {
		return err
	}
	defer allow()
	names := names(packages)
	args := append([]string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, names...)
	if _, err := run(ctx, "", "apt-get", args...); err != nil {
		if err := Update(ctx); err != nil {
			return err
		}
		if _, err := run(ctx, "", "apt-get", args...); err != nil {
			return fmt.Errorf("install %s: %w", strings.Join(names, " "), err)
		}
	}
	return disable(ctx, packages)
}

// Update brings the package lists up to date. It takes root.
func Update(ctx context.Context) error {
	_, err := run(ctx, "", "apt-get", "update", "-q")
	return err
}

// names are the package names of the list, as a person would type them.
func names(packages []Package) []string {
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = p.Name
	}
	return names
}

// Command is what a person types to install the packages.
func Command(packages []Package) string {
	return "sudo apt-get install --no-install-recommends " + strings.Join(names(packages), " ")
}
