package vm

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// loadOrder lists the files of the named modules and of all that they depend
// on, each after its dependencies, from the text of modules.dep (depmod(8)):
//
//	kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
//
// A name that is not there is built into the kernel if it is in modules.builtin.
func loadOrder(dep, builtin string, names ...string) ([]string, error) {
	files := map[string]string{} // by the module's name
	deps := map[string][]string{}
	for line := range strings.Lines(dep) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			files[moduleName(file)] = file
			deps[file] = strings.Fields(needs)
		}
	}
	var order []string
	for _, name := range names {
		file, ok := files[name]
		if !ok {
			if !hasModule(builtin, name) {
				return nil, fmt.Errorf("the kernel has no module %s", name)
			}
			continue
		}
		// Each line is complete, the farthest dependency last.
		needs := slices.Clone(deps[file])
		slices.Reverse(needs)
		for _, f := range append(needs, file) {
			if !slices.Contains(order, f) {
				order = append(order, f)
			}
		}
	}
	return order, nil
}

// moduleName is the module of a file: fs/9p/9p.ko.xz is 9p. The kernel writes
// names with _ where files may have -.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// hasModule tells whether a list of files, one a line, has the module.
func hasModule(files, name string) bool {
	for line := range strings.Lines(files) {
		if moduleName(strings.TrimSpace(line)) == name {
			return true
		}
	}
	return false
}
