package vm

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

//go:embed init.sh
var initScript []byte

// bootModules are what the kernel needs to see the shared folders.
var bootModules = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"}

// initramfs returns the path of the first root file system for a kernel; it is
// made anew only when what it is made of has changed.
func initramfs(ctx context.Context, cache string, k Kernel) (string, error) {
	busybox, err := findBusybox()
	if err != nil {
		return "", err
	}
	shell, err := os.ReadFile(busybox)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n%s\n", k.Package, bootModules, initScript)
	h.Write(shell)
	file := filepath.Join(cache, fmt.Sprintf("initramfs-%s-%x.gz", k.Release, h.Sum(nil)[:8]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	modules, err := readModules(ctx, k)
	if err != nil {
		return "", err
	}
	data, err := pack(shell, modules)
	if err != nil {
		return "", err
	}
	return file, writeAtomic(file, data)
}

// A moduleFile is a kernel module, uncompressed.
type moduleFile struct {
	name string
	data []byte
}

// readModules reads the modules that the kernel needs to boot, in the order of loading.
func readModules(ctx context.Context, k Kernel) ([]moduleFile, error) {
	dir := filepath.Join(k.Modules, k.Release)
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	order, err := loadOrder(string(dep), string(builtin), bootModules...)
	if err != nil {
		return nil, err
	}
	var modules []moduleFile
	for _, file := range order {
		data, err := readModule(ctx, filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		modules = append(modules, moduleFile{strings.TrimSuffix(path.Base(file), ".xz"), data})
	}
	return modules, nil
}

// readModule reads a module; Debian packs those of 6.12 with xz, and those of
// 6.1 not at all.
func readModule(ctx context.Context, file string) ([]byte, error) {
	if strings.HasSuffix(file, ".xz") {
		data, err := exec.CommandContext(ctx, "xz", "-dc", file).Output()
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", file, err)
		}
		return data, nil
	}
	return os.ReadFile(file)
}

// pack makes the archive of the init script, its shell and the modules.
func pack(shell []byte, modules []moduleFile) ([]byte, error) {
	var out, order bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	archive := cpioWriter{w: zip}
	archive.Dir("bin")
	archive.File("bin/busybox", shell)
	archive.Dir("modules")
	for _, m := range modules {
		archive.File("modules/"+m.name, m.data)
		fmt.Fprintln(&order, m.name)
	}
	archive.File("order", order.Bytes())
	archive.File("init", initScript)
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// findBusybox is the path of busybox: /bin first, because busybox-static puts
// it there and PATH may have another.
func findBusybox() (string, error) {
	for _, file := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("there is no /bin/busybox: install busybox-static")
}
