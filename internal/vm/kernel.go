package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/lvskit/lvskit/internal/debian"
)

// A Kernel is one that can be booted.
type Kernel struct {
	Package   string // Debian's, such as linux-image-6.12.117+deb12-amd64
	Release   string // what uname -r says
	Image     string // path of vmlinuz
	Modules   string // path of the folder that holds a folder named Release
	Initramfs string // path of the first root file system
}

// Fetch returns the newest kernel of a series such as "6.12", downloading it
// into the cache if it is not there. When the archives cannot be asked, the
// newest kernel of the series in the cache will do.
func Fetch(ctx context.Context, cache, series string) (Kernel, error) {
	unlock, err := lock(cache)
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	name, err := debian.NewestKernel(ctx, series)
	if err == nil && !isDir(filepath.Join(cache, name)) {
		err = unpack(ctx, cache, name)
	}
	if err != nil {
		if name = cached(cache, series); name == "" {
			return Kernel{}, err
		}
	}
	k, err := open(filepath.Join(cache, name))
	if err != nil {
		return Kernel{}, err
	}
	k.Package = name
	k.Initramfs, err = initramfs(ctx, cache, k)
	return k, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// cached is the newest package of the series in the cache, or "".
func cached(cache, series string) string {
	dirs, _ := filepath.Glob(filepath.Join(cache, "linux-image-"+series+".*"))
	if len(dirs) == 0 {
		return ""
	}
	slices.SortFunc(dirs, func(a, b string) int { return debian.CompareVersions(filepath.Base(a), filepath.Base(b)) })
	return filepath.Base(dirs[len(dirs)-1])
}

// unpack downloads a kernel's package into the cache, under its name once it is whole.
func unpack(ctx context.Context, cache, name string) error {
	tmp, err := os.MkdirTemp(cache, ".kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := debian.Unpack(ctx, name, tmp); err != nil {
		return err
	}
	k, err := open(tmp)
	if err != nil {
		return err
	}
	if err := debian.Depmod(ctx, filepath.Dir(filepath.Dir(k.Modules)), k.Release); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(cache, name))
}

// open finds the parts of an unpacked kernel package.
func open(dir string) (Kernel, error) {
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(dir, "lib", "modules", "*"))
	if len(modules) == 0 { // as packaged since /lib became a link
		modules, _ = filepath.Glob(filepath.Join(dir, "usr", "lib", "modules", "*"))
	}
	if len(images) != 1 || len(modules) != 1 {
		return Kernel{}, fmt.Errorf("%s has %d kernels and %d module folders, not one of each", dir, len(images), len(modules))
	}
	return Kernel{Release: filepath.Base(modules[0]), Image: images[0], Modules: filepath.Dir(modules[0])}, nil
}
