//go:build unix

package health

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What is no ordinary file is not read, and nothing waits for it.
func TestFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir, "/dev/zero", "/dev/tty", loop} {
		done := make(chan error, 1)
		go func() {
			_, err := File{Path: path, Test: FileNumber}.Probe(t.Context())
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, ErrInconclusive) {
				t.Errorf("%s: got %v", path, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: it waits", path)
		}
	}
	if _, err := (File{Path: fifo}).Probe(t.Context()); err != nil {
		t.Errorf("a pipe is there, but got %v", err)
	}
	if _, err := (File{Path: loop, Test: FileAbsent}).Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
		t.Errorf("a loop of links: got %v", err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if _, err := (File{Path: dangling, Test: FileAbsent}).Probe(t.Context()); err != nil {
		t.Errorf("a link to nowhere: got %v", err)
	}
}
