package laws

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
)

// TestProgramsOfTheREADMECompile takes each Go program out of README.md and
// builds it in the module.
func TestProgramsOfTheREADMECompile(t *testing.T) {
	if need.Emulated() {
		t.Skip("nothing can be compiled here")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("README.md shows no Go program")
	}
	for _, block := range blocks {
		program, _, _ := strings.Cut(block, "```")
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		build := exec.Command("go", "build", "-o", os.DevNull, file)
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, program)
		}
		formatted, err := exec.Command("gofmt", "-l", file).CombinedOutput()
		if err != nil || len(formatted) > 0 {
			t.Errorf("not formatted: %v\n%s\n%s", err, formatted, program)
		}
	}
}
