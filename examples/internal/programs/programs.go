// Package programs gives an example the other programs of examples/ that it
// starts: those that lie beside it, as in the machine of internal/cmd/vmtest,
// or else compiled by the go command.
//
// # How it flows
//
// All is in programs.go.
package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// module is where the programs are.
const module = "github.com/lvskit/lvskit/examples/"

// Find returns the path of each named program of examples/. What does not lie
// beside the running program is compiled into dir, without cgo, which takes the
// go command and a working folder inside the module.
func Find(ctx context.Context, dir string, names ...string) (map[string]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, name := range names {
		found[name] = filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(found[name]); err == nil {
			continue
		}
		found[name] = filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", found[name], module+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return found, nil
}
