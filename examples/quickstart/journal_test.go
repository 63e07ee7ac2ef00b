package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// clock is a clock that the test sets.
type clock struct{ now time.Duration }

func (c *clock) at(seconds float64) { c.now = time.Duration(seconds * float64(time.Second)) }

func newTestJournal() (*journal, *clock) {
	c := &clock{}
	return newJournal(func() time.Duration { return c.now }), c
}

func TestALostRequestBelongsToThePhaseThatExplainsIt(t *testing.T) {
	for _, tt := range []struct {
		name       string
		start, end float64
		lost       bool
		want       string
	}{
		{"answered while all is well", 1.0, 1.1, false, "well"},
		{"lost while all is well", 0.5, 1.5, true, "well"},
		{"sent just before the death, lost by it", 1.9, 2.9, true, "dead"},
		{"sent just before the death, answered", 1.99, 2.01, false, "well"},
		{"sent and lost while it is dead", 2.5, 3.0, true, "dead"},
		{"lost while it is dead, the timeout comes later", 2.9, 3.9, true, "dead"},
		{"lost when it was found out", 3.1, 3.5, true, "out"},
		{"sent before the second death, lost by it", 3.8, 4.8, true, "none"},
		{"sent before the first death, lost after the second", 1.0, 4.5, true, "dead"},
		{"before anything was told", 0.05, 0.08, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, c := newTestJournal()
			tell := func(seconds float64, name, why string) {
				c.at(seconds)
				j.begin(name, why, name)
			}
			tell(0.1, "well", "")
			tell(2, "dead", "it is dead")
			tell(3, "out", "")
			tell(4, "none", "nobody has the address")
			tell(5, "last", "")
			c.at(tt.start)
			start := j.sent()
			c.at(tt.end)
			var err error
			if tt.lost {
				err = context.DeadlineExceeded
			}
			j.done(start, "web1", err)
			for _, p := range j.phases {
				requests, failed := 0, 0
				if p.Name == tt.want {
					requests = 1
				}
				if tt.lost {
					failed = requests
				}
				if p.Requests != requests || p.Failed != failed {
					t.Errorf("phase %s has %d requests and %d failed, want %d and %d", p.Name, p.Requests, p.Failed, requests, failed)
				}
			}
			if j.requests != 1 || j.failed == 0 && tt.lost {
				t.Errorf("%d requests and %d failed in all", j.requests, j.failed)
			}
		})
	}
}

func TestTheFirstAnswerIsToARequestSentSinceTheMark(t *testing.T) {
	j, c := newTestJournal()
	c.at(1)
	before := j.sent()
	c.at(1.1)
	j.expectAnswer()
	lost := j.sent()
	c.at(1.2)
	j.done(before, "web1", nil)
	j.done(lost, "", context.DeadlineExceeded)
	if at, ok := j.firstAnswer(); ok {
		t.Fatalf("the answer at %v counts, and is to a request of before", at)
	}
	after := j.sent()
	c.at(1.5)
	j.done(after, "web1", nil)
	c.at(1.6)
	j.done(after, "web1", nil)
	if at, ok := j.firstAnswer(); !ok || at != 1500*time.Millisecond {
		t.Errorf("the first answer is at %v, %v", at, ok)
	}
}

func TestASecondIsWholeWhenItsRequestsHaveEnded(t *testing.T) {
	j, c := newTestJournal()
	c.at(3.26)
	answered, lost := j.sent(), j.sent()
	j.done(answered, "web1", nil)
	if _, whole := j.takeSlots(3); whole {
		t.Error("the second is whole before it is over")
	}
	c.at(4.1)
	if slots, whole := j.takeSlots(3); whole || slots[5].pending() != 1 {
		t.Errorf("a request is under way, and the second is %v, whole %v", slots, whole)
	}
	c.at(4.26)
	j.done(lost, "", context.DeadlineExceeded)
	if slots, whole := j.takeSlots(3); !whole || slots[5] != (slot{sent: 2, answered: 1, failed: 1}) {
		t.Errorf("the second is %v, whole %v", slots, whole)
	}
	if slots, _ := j.takeSlots(3); slots[5] != (slot{}) {
		t.Errorf("the slots were taken and are still there: %v", slots)
	}
}

func TestCausesAreInWords(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("get: %w", context.DeadlineExceeded), "no answer within 1s"},
		{fmt.Errorf("get: %w", os.ErrDeadlineExceeded), "no answer within 1s"},
		{fmt.Errorf("get: %w", syscall.ECONNRESET), "connection reset"},
		{errors.New("odd"), "odd"},
	} {
		if got := cause(tt.err); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.err, got, tt.want)
		}
	}
}
