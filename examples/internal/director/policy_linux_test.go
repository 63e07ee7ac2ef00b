package director

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWhenAllDie takes every real server away: the sorry server serves, and
// without one, by fail-open, all do.
func TestWhenAllDie(t *testing.T) { onEach(t, whenAllDie) }

func whenAllDie(t *testing.T, plane string) {
	r := newRigOf(t, plane, network{}, 3)
	m, sorry := r.directors[0], r.servers[2]
	r.directors = r.directors[:1]
	service := r.service(r.servers[0], r.servers[1])
	r.doc = object{"services": []object{service.with("sorry", sorry.real())}}
	m.start()
	living := r.servers[:2]
	for _, s := range living {
		r.served(s, true, time.Minute)
	}
	r.served(sorry, false, time.Minute)
	load := r.load()
	load.more(r, 10)

	for _, s := range living {
		s.die()
	}
	t.Logf("the sorry server serves after %v", r.served(sorry, true, slowest()))
	m.says("down, the sorry server serves")
	load.after(r)
	load.more(r, 10)
	if by, failed := load.reset(); len(by) != 1 || by[sorry.Name()] == 0 || len(failed) > 0 {
		t.Errorf("with the sorry server: %v, failed %q", by, failed)
	}
	living[0].start()
	r.served(living[0], true, slowest())
	r.served(sorry, false, slowest())
	load.after(r)
	load.more(r, 10)
	if by, failed := load.reset(); len(by) != 1 || by[living[0].Name()] == 0 || len(failed) > 0 {
		t.Errorf("with one server back: %v, failed %q", by, failed)
	}
	load.stop()

	// The checks are wrong, not the servers: all but one fail, and all serve.
	r.reload(service.with("fail_open", 0.6).with("inhibit", true))
	r.until("all serve", func() bool { return strings.Count(m.table(), "-w 2\n") == 2 })
	m.says("fail open")
	r.reload(service.with("inhibit", true))
	r.until("the failed one is inhibited", func() bool {
		return strings.Contains(m.table(), "-r "+living[1].real()+" "+r.option()+" -w 0\n") && strings.Contains(m.table(), "-r "+living[0].real()+" "+r.option()+" -w 2\n")
	})
}

// TestACheckSetsTheWeight has a script whose exit code is the weight.
func TestACheckSetsTheWeight(t *testing.T) {
	r := newRig(t, 1)
	m := r.directors[0]
	file := filepath.Join(t.TempDir(), "code")
	code := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	weighs := func(text string) {
		t.Helper()
		r.until("the table has "+text, func() bool { return strings.Contains(m.table(), "-r "+r.servers[0].real()+" -g -w "+text+"\n") })
	}
	code("0")
	r.doc = object{"services": []object{r.service().with("check", object{
		"kind": "script", "command": []string{"sh", "-c", `test "$1" = 192.168.247.135:80 && exit $(cat ` + file + `)`, "check", "{addr}:{port}"},
		"dynamic": true, "interval": "300ms", "timeout": "5s",
	})}}
	m.start()
	weighs("2")
	code("42")
	weighs("40")
	code("7")
	weighs("5")
	code("0")
	weighs("2")
}

// TestADrainHasADeadline drains a real server whose connection never ends.
func TestADrainHasADeadline(t *testing.T) { onEach(t, aDrainHasADeadline) }

func aDrainHasADeadline(t *testing.T, plane string) {
	r := newRigOf(t, plane, network{}, 2)
	m := r.directors[0]
	r.directors = r.directors[:1]
	m.start()
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	conn := r.connect(r.servers[0])
	r.reload(r.service(r.servers[1]).with("drain", "3s"))
	conn.lives("while its server is drained")
	r.served(r.servers[0], false, 30*time.Second)
	m.says("drained tcp/" + r.target + " " + r.servers[0].real() + ": 1 connections left\n")

	// One that comes back while it is drained is no longer drained.
	conn = r.connect(r.servers[1])
	r.reload(r.service(r.servers[0]))
	r.reload(r.service())
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	conn.lives("after its server was to go and stays")
	if n := strings.Count(m.Output(), "drained "); n != 1 {
		t.Errorf("%d real servers were drained, want 1", n)
	}
	r.until("all have their weight", func() bool { return strings.Count(m.table(), "-w 2\n") == 2 })
}
