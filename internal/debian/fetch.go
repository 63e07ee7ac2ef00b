package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Unpack downloads a package and unpacks it into dir, which must exist and be
// empty, without installing it.
func Unpack(ctx context.Context, name, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := run(ctx, tmp, "apt-get", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages, not one", name, len(debs))
	}
	_, err = run(ctx, tmp, "dpkg-deb", "-x", debs[0], dir)
	return err
}

// Depmod lists the dependencies of the modules of a kernel unpacked in dir.
func Depmod(ctx context.Context, dir, release string) error {
	depmod, ok := find("depmod")
	if !ok {
		return fmt.Errorf("there is no depmod: install kmod")
	}
	_, err := run(ctx, dir, depmod, "-b", dir, release)
	return err
}
