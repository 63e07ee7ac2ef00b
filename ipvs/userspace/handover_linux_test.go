package userspace

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A program is restarted again and again under load.
func TestRestartLosesNothing(t *testing.T) {
	const restarts = 20
	r := newEstateRig(t)
	now, changes := r.start(t)
	if changes == 0 {
		t.Fatal("the first program has found a table")
	}
	now.run()
	l := r.load(t, 4)
	defer l.end()
	l.goesOn(t)
	for i := range restarts {
		next, changes := r.start(t)
		if changes != 0 {
			t.Errorf("restart %d: the table needs %d changes", i, changes)
		}
		l.goesOn(t)
		next.run()
		if got, want := now.line(t), "ended true ipvs: run: "+ErrSucceeded.Error(); got != want {
			t.Errorf("restart %d: the program says %q, want %q", i, got, want)
		}
		if err := now.cmd.Wait(); err != nil {
			t.Error(err)
		}
		l.goesOn(t)
		now = next
	}
	l.end()
	now.cmd.Process.Signal(unix.SIGTERM)
	if got, want := now.line(t), "ended false <nil>"; got != want {
		t.Errorf("the last program says %q, want %q", got, want)
	}
	if _, err := os.Lstat(r.path); !os.IsNotExist(err) {
		t.Errorf("the socket is there after the last program: %v", err)
	}
}

// A successor is killed at any time before it runs: its predecessor goes on, and
// the next one succeeds that.
func TestSuccessorIsKilled(t *testing.T) {
	r := newEstateRig(t)
	first, _ := r.start(t)
	first.run()
	l := r.load(t, 4)
	defer l.end()
	for range 3 {
		dies, _ := r.start(t)
		l.goesOn(t)
		dies.kill()
		l.goesOn(t)
	}
	for i := range 10 {
		dies := r.launch(t)
		time.Sleep(time.Duration(i) * 5 * time.Millisecond) // to kill it somewhere in its beginning
		dies.kill()
	}
	l.goesOn(t)
	next, changes := r.start(t)
	if changes != 0 {
		t.Errorf("the table needs %d changes", changes)
	}
	next.run()
	if got := first.line(t); got != "ended true ipvs: run: "+ErrSucceeded.Error() {
		t.Errorf("the predecessor says %q", got)
	}
	l.goesOn(t)
}

// The predecessor is killed after it has handed the table over: who comes until
// the successor runs waits for it.
func TestPredecessorIsKilled(t *testing.T) {
	r := newEstateRig(t)
	first, _ := r.start(t)
	first.run()
	l := r.load(t, 1)
	l.goesOn(t)
	l.end()
	next, changes := r.start(t)
	if changes != 0 {
		t.Errorf("the table needs %d changes", changes)
	}
	first.kill()
	l = r.load(t, 4)
	defer l.end()
	next.run()
	l.goesOn(t)
	last, _ := r.start(t)
	last.run()
	if got := next.line(t); got != "ended true ipvs: run: "+ErrSucceeded.Error() {
		t.Errorf("the successor, as a predecessor, says %q", got)
	}
	l.goesOn(t)
}

// All processes are killed: the next finds a socket that nobody listens on.
func TestStaleSocketIsReplaced(t *testing.T) {
	r := newEstateRig(t)
	first, _ := r.start(t)
	first.run()
	l := r.load(t, 1)
	l.goesOn(t)
	l.end()
	first.kill()
	if _, err := os.Lstat(r.path); err != nil {
		t.Fatal("a killed process has removed its socket: ", err)
	}
	next, changes := r.start(t)
	if changes == 0 {
		t.Error("a table has come from nowhere")
	}
	next.run()
	l = r.load(t, 1)
	defer l.end()
	l.goesOn(t)
	info, err := os.Lstat(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(info.Mode()); got != "Srw-------" {
		t.Errorf("the mode of the socket is %s, want that of its owner alone", got)
	}
}
