package vrrp

import (
	"testing"
	"time"
)

// A slow OnEvent loses what matters least, and delays nothing.
func TestASlowCallback(t *testing.T) {
	n := newNotifier()
	a, b := &instance{cfg: &Config{}}, &instance{cfg: &Config{}}
	n.push(a, Event{Kind: Transition, From: Initialize, To: Backup})
	n.push(a, Event{Kind: TwoActive})
	n.push(b, Event{Kind: Transition, From: Backup, To: Active})
	for range noticesMost - 4 {
		n.push(b, Event{Kind: Transition, From: Active, To: Backup})
	}
	n.push(a, Event{Kind: Transition, From: Backup, To: Fault})
	if len(n.queue) != noticesMost || n.lostOf(a) != 0 {
		t.Fatalf("%d queued, %d lost", len(n.queue), n.lostOf(a))
	}
	n.push(a, Event{Kind: Healed})
	if n.lostOf(a) != 1 || n.queue[1].event.Kind != Transition {
		t.Errorf("the oldest that is no transition is still there: %d lost", n.lostOf(a))
	}
	n.push(b, Event{Kind: Transition})
	n.push(b, Event{Kind: Transition})
	if n.lostOf(a) != 3 || n.lostOf(b) != 0 || len(n.queue) != noticesMost {
		t.Errorf("lost %d and %d", n.lostOf(a), n.lostOf(b))
	}
	for _, o := range n.queue {
		if o.i == a && (o.event.From != Initialize || o.event.To != Fault) {
			t.Errorf("transitions were merged into %v to %v", o.event.From, o.event.To)
		}
	}
}

func TestASlowCallbackDelaysNoTimer(t *testing.T) {
	var seen []State
	cfg := Config{OnEvent: func(e Event) { time.Sleep(time.Hour); seen = append(seen, e.To) }}
	fake(t, cfg, func(f *fakeRun) {
		f.pass(10 * time.Second)
		if sent := len(f.advertisements()); sent != 7 {
			t.Errorf("%d advertisements, want 7", sent)
		}
		f.stop()
		if len(seen) != 3 || seen[0] != Backup || seen[1] != Active || seen[2] != Initialize {
			t.Errorf("Run returned before all events were delivered: %v", seen)
		}
	})
}
