package director

import (
	"strings"
	"testing"
	"time"
)

// TestAPairUnderLoad leads two directors through the life of a cluster while a
// client goes on asking.
func TestAPairUnderLoad(t *testing.T) { onEach(t, aPairUnderLoad) }

func aPairUnderLoad(t *testing.T, plane string) {
	r := newRigOf(t, plane, network{}, 3)
	r.pair()
	for _, m := range r.directors {
		m.start()
	}
	first, second := r.directors[0], r.directors[1]
	first.says("state backup -> active")
	// lost judges requests that failed. They may where the machine was so busy that
	// the election was disturbed, and the addresses moved.
	lost := func(what string, failed []string) {
		t.Helper()
		n := strings.Count(first.Output(), "state ") + strings.Count(second.Output(), "state ")
		switch {
		case len(failed) > 0 && n == 3:
			t.Errorf("%s: %d requests failed: %q", what, len(failed), failed)
		case n != 3:
			t.Logf("%s: the machine is too busy: %d transitions, %d requests failed", what, n, len(failed))
		}
	}
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
	load := r.load()
	load.more(r, 30)
	by, failed := load.reset()
	lost("in peace", failed)
	if len(by) != 3 {
		t.Errorf("in peace: %v", by)
	}

	victim := r.servers[0]
	victim.die()
	t.Logf("a dead server is out after %v", r.served(victim, false, slowest()))
	load.after(r)
	load.more(r, 20)
	by, failed = load.reset()
	lost("without "+victim.Name(), failed)
	if by[victim.Name()] > 0 {
		t.Errorf("without %s: %v", victim.Name(), by)
	}
	victim.start()
	t.Logf("a server that returns is in after %v", r.served(victim, true, slowest()))
	load.more(r, 30)
	by, failed = load.reset()
	lost("with "+victim.Name()+" again", failed)
	if by[victim.Name()] == 0 {
		t.Errorf("with %s again: %v", victim.Name(), by)
	}

	conn := r.connect(r.servers[1])
	r.reload(r.service(r.servers[0], r.servers[2]))
	load.more(r, 30)
	conn.lives("while its server is drained")
	first.served(r.servers[1], true, 0)
	conn.close()
	r.served(r.servers[1], false, time.Minute)
	_, failed = load.reset()
	lost("a server was drained", failed)

	lives := func(string) {} // without the kernel it does not
	if plane == Kernel {
		conn = r.connect(nil)
		lives = conn.lives
		for range 5 {
			conn.lives("before")
		}
		r.until("the second director knows the connection", func() bool { return second.knows(conn) })
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	first.link.Down()
	second.says("state backup -> active")
	lives("after the take-over")
	load.more(r, 20)
	_, failed = load.reset()
	t.Logf("take-over: %d requests failed", len(failed))
	load.stop()

	// It returns, and learns before it takes the address back.
	first.own["vrrp"].(object)["preempt_delay"] = (tellTime + 2*time.Second).String()
	if err := first.link.Up(); err != nil {
		t.Fatal(err)
	}
	first.start()
	r.until("the first director is Active again", func() bool {
		lives("while the first director learns")
		return strings.Contains(first.Output(), "state backup -> active")
	})
	second.says("state active -> backup")
	lives("after its return")
}
