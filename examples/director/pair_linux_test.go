package main

import (
	"strings"
	"testing"
	"time"
)

// TestAPairUnderLoad leads two directors through the life of a cluster while a
// client goes on asking.
func TestAPairUnderLoad(t *testing.T) {
	r := newRig(t, 3)
	r.pair()
	for _, m := range r.directors {
		m.start()
	}
	first, second := r.directors[0], r.directors[1]
	first.says("state backup -> active")
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	load := r.load()
	load.more(r, 30)
	if by, failed := load.reset(); len(by) != 3 || len(failed) > 0 {
		t.Errorf("in peace: %v, failed %q", by, failed)
	}

	victim := r.servers[0]
	victim.die()
	t.Logf("a dead server is out after %v", r.served(victim, false, slowest))
	load.more(r, 10) // what was under way
	load.reset()
	load.more(r, 20)
	if by, failed := load.reset(); by[victim.Name()] > 0 || len(failed) > 0 {
		t.Errorf("without %s: %v, failed %q", victim.Name(), by, failed)
	}
	victim.start()
	t.Logf("a server that returns is in after %v", r.served(victim, true, slowest))
	load.more(r, 30)
	if by, failed := load.reset(); by[victim.Name()] == 0 || len(failed) > 0 {
		t.Errorf("with %s again: %v, failed %q", victim.Name(), by, failed)
	}

	conn := r.connect(r.servers[1])
	r.reload(r.service(r.servers[0], r.servers[2]))
	load.more(r, 30)
	conn.lives("while its server is drained")
	first.served(r.servers[1], true, 0)
	conn.close()
	r.served(r.servers[1], false, time.Minute)
	if by, failed := load.reset(); len(by) == 0 || len(failed) > 0 {
		t.Errorf("a server was drained: %v, failed %q", by, failed)
	}

	if n := strings.Count(first.Output(), "state ") + strings.Count(second.Output(), "state "); n != 3 {
		t.Errorf("%d transitions before a director died, want 3", n)
	}
	conn = r.connect(nil)
	for range 5 {
		conn.lives("before")
	}
	r.until("the second director knows the connection", func() bool { return second.knows(conn) })
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	first.link.Down()
	second.says("state backup -> active")
	conn.lives("after the take-over")
	load.more(r, 20)
	_, failed := load.reset()
	t.Logf("take-over: %d requests failed", len(failed))
}
