package vrrp

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestASilentLinkMakesActiveInTime(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		down := 3*time.Second + time.Second*156/256
		f.pass(down - time.Nanosecond)
		f.want(Backup, ReasonStart)
		f.pass(time.Nanosecond)
		f.want(Active, ReasonTimeout)
		f.pass(10 * time.Second)
		sent := f.advertisements()
		if len(sent) != 11 {
			t.Fatalf("%d advertisements in 10 s, want 11", len(sent))
		}
		for n, p := range sent {
			if want := down + time.Duration(n)*time.Second; p.at != want || p.Priority != 100 || p.out.dst != group4 {
				t.Errorf("advertisement %d to %v of priority %d at %v, want %v", n, p.out.dst, p.Priority, p.at, want)
			}
		}
		if err := f.stop(); err != nil {
			t.Error(err)
		}
		sent = f.advertisements()
		if last := sent[len(sent)-1]; last.Priority != 0 {
			t.Errorf("the last advertisement has priority %d, want 0", last.Priority)
		}
		if s := f.r.Status(); s.State != Initialize || s.Stats.SentZero != 1 || s.Stats.Sent != uint64(len(sent)) {
			t.Errorf("after Run: %+v", s)
		}
	})
}

// A Backup that was asleep finds a queue of advertisements and knows by them that
// the Active router lives.
func TestWhatHasComeIsHeardBeforeTimersFire(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.hear("10.0.0.2", 200, time.Second)
		f.pass(time.Second)
		f.mu.Lock()
		f.stall = 10 * time.Second
		f.mu.Unlock()
		f.hear("10.0.0.2", 200, time.Second)
		for range 10 { // while it sleeps
			time.Sleep(time.Second)
			f.hear("10.0.0.2", 200, time.Second)
		}
		f.pass(2 * time.Second)
		f.want(Backup, ReasonStart)
		if s := f.r.Status(); s.Stats.LateTimers != 0 || s.Stats.Received != 12 {
			t.Errorf("%d late timers and %d received, want 0 and 12", s.Stats.LateTimers, s.Stats.Received)
		}
	})
}

func TestAnActiveRouterThatWasStarvedGivesWay(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.pass(5 * time.Second)
		f.want(Active, ReasonTimeout)
		f.mu.Lock()
		f.stall = 20 * time.Second
		f.mu.Unlock()
		f.wake()
		f.pass(25*time.Second - 4*time.Second)
		f.want(Backup, ReasonStarved)
		s := f.r.Status()
		if s.Stats.LateTimers == 0 || s.Stats.Latest < 18*time.Second || s.Stats.Starved != 1 {
			t.Errorf("late timers %d, latest %v, starved %d", s.Stats.LateTimers, s.Stats.Latest, s.Stats.Starved)
		}
		if late := f.seen(LateTimer); len(late) != 1 || late[0].Late != s.Stats.Latest {
			t.Errorf("events %+v, want one of %v", late, s.Stats.Latest)
		}
	})
}

func TestAFloodDoesNotSilenceTheActiveRouter(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		before := len(f.advertisements())
		f.mu.Lock()
		f.flood = true
		f.mu.Unlock()
		f.wake()
		time.Sleep(3 * time.Second)
		f.mu.Lock()
		f.flood = false
		f.mu.Unlock()
		synctest.Wait()
		if sent := len(f.advertisements()) - before; sent < 3 {
			t.Errorf("%d advertisements in 3 s of flood", sent)
		}
		if n := f.r.Status().Stats.Dropped[DropLength]; n < 1000 { // one in 30 µs
			t.Errorf("%d packets dropped, want all that are cut short", n)
		}
	})
}

func TestLinksComeAndGo(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		f.want(Active, ReasonTimeout)
		step := func(change func(*link), s State, r Reason) {
			t.Helper()
			f.setLink(change)
			synctest.Wait()
			f.want(s, r)
		}
		whole := f.links["eth0"]
		step(func(l *link) { l.carrier = false }, Fault, ReasonLink)
		step(func(l *link) { *l = whole }, Backup, ReasonRecovered)
		step(func(l *link) { l.up, l.carrier = false, false }, Fault, ReasonLink)
		step(func(l *link) { *l = link{} }, Fault, ReasonLink)
		step(func(l *link) { *l = whole; l.addrs = nil }, Fault, ReasonLink)
		if s := f.r.Status(); len(s.Faults) != 1 || s.Faults[0] != ReasonSource || s.Source.IsValid() {
			t.Errorf("without an address: %+v", s)
		}
		step(func(l *link) { *l = whole }, Backup, ReasonRecovered)
		f.pass(4 * time.Second)
		f.want(Active, ReasonTimeout)
		step(func(l *link) { *l = link{} }, Fault, ReasonInterface)
	})
}

func TestAShortBreakOfTheLinkIsRidden(t *testing.T) {
	fake(t, Config{LinkDebounce: 1500 * time.Millisecond}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		cut := func(l *link) { l.carrier = false }
		f.setLink(cut)
		f.pass(1400 * time.Millisecond)
		f.setLink(func(l *link) { l.carrier = true })
		f.pass(5 * time.Second)
		f.want(Active, ReasonTimeout)
		f.setLink(cut)
		f.pass(1499 * time.Millisecond)
		f.want(Active, ReasonTimeout)
		f.pass(time.Millisecond)
		f.want(Fault, ReasonLink)
	})
}

func TestACarrierThatIsIgnored(t *testing.T) {
	fake(t, Config{IgnoreLink: true}, func(f *fakeRun) {
		f.setLink(func(l *link) { l.carrier = false })
		f.pass(4 * time.Second)
		f.want(Active, ReasonTimeout)
		f.setLink(func(l *link) { l.up = false })
		synctest.Wait()
		f.want(Fault, ReasonLink)
	})
}

func TestTrackersMoveThePriority(t *testing.T) {
	fake(t, Config{Priority: 100}, func(f *fakeRun) {
		priority := func(want uint8) {
			t.Helper()
			synctest.Wait()
			if got := f.r.Status().Priority; got != want {
				t.Errorf("priority %d, want %d", got, want)
			}
		}
		a, err := f.r.Track("a", 10)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := f.r.Track("b", -30)
		c, _ := f.r.Track("c", 0)
		priority(110)
		b.Down()
		priority(80)
		a.Down()
		priority(70)
		if _, err := f.r.Track("a", 1); !errors.Is(err, fs.ErrExist) {
			t.Errorf("the same name again: %v", err)
		}
		a.Close()
		a.Up()
		b.Up()
		priority(100)
		c.Down()
		synctest.Wait()
		f.want(Fault, ReasonTracker)
		c.Close()
		synctest.Wait()
		f.want(Backup, ReasonRecovered)
		if _, err := f.r.Track("a", 254); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a weight of 254: %v", err)
		}
	})
}

func TestWeightsThatCannotWork(t *testing.T) {
	r, err := New(Config{Interface: "eth0", VRID: 1, Addresses: addrs("10.0.0.100"), NoPreempt: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Track("a", 5); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a weight with NoPreempt: %v", err)
	}
	if _, err := r.Track("a", 0); err != nil {
		t.Error(err)
	}
	cfg := *r.config()
	cfg.NoPreempt = false
	if err := r.Update(cfg); err != nil {
		t.Error(err)
	}
	if _, err := r.Track("b", 5); err != nil {
		t.Error(err)
	}
	cfg.NoPreempt = true
	if err := r.Update(cfg); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("NoPreempt with a weight: %v", err)
	}
}

func TestUpdateChecksWhatCannotChange(t *testing.T) {
	whole := Config{Interface: "eth0", VRID: 1, Addresses: addrs("10.0.0.100")}
	r, err := New(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"interface": func(c *Config) { c.Interface = "eth1" },
		"VRID":      func(c *Config) { c.VRID = 2 },
		"version":   func(c *Config) { c.Version = V2 },
		"family":    func(c *Config) { c.Addresses = addrs("fe80::100") },
		"netns":     func(c *Config) { c.NetNS = "/run/netns/x" },
		"group":     func(c *Config) { c.Group = NewGroup("g") },
		"nonsense":  func(c *Config) { c.Interval = time.Millisecond },
	} {
		c := whole
		change(&c)
		if err := r.Update(c); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole.Priority = 7
	if err := r.Update(whole); err != nil || r.Status().Priority != 7 {
		t.Errorf("priority: %v, %+v", err, r.Status())
	}
}

func TestUpdateKeepsTheState(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.pass(4 * time.Second)
		cfg := *f.r.config()
		cfg.Addresses, cfg.Priority, cfg.Interval = addrs("10.0.0.100", "10.0.0.101"), 150, 2*time.Second
		if err := f.r.Update(cfg); err != nil {
			t.Fatal(err)
		}
		f.pass(10 * time.Second)
		f.want(Active, ReasonTimeout)
		sent := f.advertisements()
		last := sent[len(sent)-1]
		if last.Priority != 150 || last.Interval != 2*time.Second || len(last.Addresses) != 2 {
			t.Errorf("advertised: %+v", last)
		}
		if len(f.seen(Transition)) != 2 {
			t.Errorf("events: %+v", f.events)
		}
	})
}

func TestFailuresToSendAreCounted(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		f.mu.Lock()
		f.fail = errTest
		f.mu.Unlock()
		f.pass(5 * time.Second)
		f.want(Active, ReasonTimeout)
		if s := f.r.Status().Stats; s.SendErrors != 2 || s.Sent != 0 {
			t.Errorf("%d errors and %d sent, want 2 and 0", s.SendErrors, s.Sent)
		}
	})
}

func TestTheWitness(t *testing.T) {
	answer := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	t.Run("agrees", func(t *testing.T) {
		fake(t, Config{Witness: answer(nil)}, func(f *fakeRun) {
			f.pass(4 * time.Second)
			f.want(Active, ReasonTimeout)
		})
	})
	t.Run("vetoes", func(t *testing.T) {
		fake(t, Config{Witness: answer(errTest)}, func(f *fakeRun) {
			f.pass(11 * time.Second)
			f.want(Backup, ReasonStart)
			if e := f.seen(Vetoed); len(e) != 3 || !errors.Is(e[0].Err, errTest) {
				t.Errorf("events: %+v", e)
			}
		})
	})
	t.Run("does not answer", func(t *testing.T) {
		fake(t, Config{Witness: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, func(f *fakeRun) {
			f.pass(4500 * time.Millisecond)
			if len(f.seen(Vetoed)) != 0 {
				t.Error("vetoed too early")
			}
			f.pass(time.Second)
			if e := f.seen(Vetoed); len(e) != 1 || !errors.Is(e[0].Err, context.DeadlineExceeded) {
				t.Errorf("events: %+v", e)
			}
		})
	})
	t.Run("takes no notice of its context", func(t *testing.T) {
		var calls atomic.Int32
		fake(t, Config{Witness: func(context.Context) error {
			if calls.Add(1) == 1 {
				time.Sleep(20 * time.Second)
			}
			return nil
		}}, func(f *fakeRun) {
			f.pass(20 * time.Second)
			f.want(Backup, ReasonStart)
			if e := f.seen(Vetoed); len(e) < 3 || calls.Load() != 1 {
				t.Errorf("%d calls, events: %+v", calls.Load(), e)
			}
			f.pass(10 * time.Second)
			f.want(Active, ReasonTimeout)
		})
	})
	t.Run("is told when the question is void", func(t *testing.T) {
		var why error
		fake(t, Config{Witness: func(ctx context.Context) error { <-ctx.Done(); why = ctx.Err(); return why }}, func(f *fakeRun) {
			f.pass(3700 * time.Millisecond)
			f.hear("10.0.0.2", 200, time.Second)
			synctest.Wait()
			if !errors.Is(why, context.Canceled) {
				t.Errorf("the witness was told %v", why)
			}
			f.want(Backup, ReasonStart)
		})
	})
}

func TestRunTwice(t *testing.T) {
	fake(t, Config{}, func(f *fakeRun) {
		if err := f.r.begin(); err != nil { // as Run does
			t.Fatal(err)
		}
		if err := f.r.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("Run during Run: %v", err)
		}
	})
}

// silentEdge takes what is sent and forgets it.
type silentEdge struct{ fakeEdge }

func (e *silentEdge) send(*outgoing) error { return nil }

// What happens thousands of times a second leaves no garbage: a collection would
// stop the loop.
func TestTheLoopAllocatesNothing(t *testing.T) {
	e := &silentEdge{*newFakeEdge()}
	l := newLoop(e, newNotifier())
	for n, auth := range []Auth{{}, {Kind: AuthHMAC, HMAC: HMAC{Keys: []Key{{ID: 1, Secret: secret(1)}}}}} {
		r, err := New(Config{Interface: "eth0", VRID: uint8(n + 1), Addresses: addrs("10.0.0.100", "10.0.0.101"), Auth: auth})
		if err != nil {
			t.Fatal(err)
		}
		r.join(l)
	}
	l.rewire()
	l.linksChanged(e.links)
	i := l.instances[0]
	i.cleared = true
	l.start(i)
	src := netip.MustParseAddr("10.0.0.2")
	p := Packet{Version: V3, VRID: 1, Priority: 200, Interval: time.Second, Addresses: addrs("10.0.0.100", "10.0.0.101")}
	d := datagram{
		port: port{"eth0", false, protocolVRRP}, header: header{src: src, dst: group4, hopLimit: 255, protocol: protocolVRRP, multicast: true},
		payload: p.Append(nil, src, group4),
	}
	if n := testing.AllocsPerRun(1000, func() { l.received(&d) }); n > 0 {
		t.Errorf("%v allocations for a packet that is received", n)
	}
	if i.stats.Received != 1001 {
		t.Fatalf("%d received", i.stats.Received)
	}
	for _, i := range l.instances {
		if n := testing.AllocsPerRun(1000, func() { l.advertise(i, 100) }); n > 0 {
			t.Errorf("%v allocations for a packet that is sent, with authentication %v", n, i.cfg.Auth.Kind)
		}
	}
	l.clock += 4 * time.Second
	l.fireOne(i)
	if n := testing.AllocsPerRun(1000, func() { l.clock += time.Second; l.fireOne(i); l.plan(i) }); n > 0 {
		t.Errorf("%v allocations for a timer", n)
	}
	if i.m.state != Active {
		t.Errorf("state %v", i.m.state)
	}
}
