package vip

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// A watch is played as a script: at a time, what is missing; and then what it
// does about it.
func TestWatch(t *testing.T) {
	type at struct {
		s       float64 // seconds
		missing string  // objects; "10.0.0.1!" cannot be had
		due     string
		events  string
		wake    float64 // seconds; 0 is none
	}
	tests := []struct {
		name   string
		policy LossPolicy
		script []at
	}{
		{"at once, then slower and slower", PutBack, []at{
			{0, "10.0.0.1", "10.0.0.1", "lost 10.0.0.1", 1},
			{0, "", "", "back 10.0.0.1", 0},
			{0.1, "10.0.0.1", "", "lost 10.0.0.1", 1},
			{1, "10.0.0.1", "10.0.0.1", "", 3},
			{1, "", "", "back 10.0.0.1", 0},
			{1.1, "10.0.0.1", "", "lost 10.0.0.1", 3},
			{3, "10.0.0.1", "10.0.0.1", "", 7},
			{7, "10.0.0.1", "10.0.0.1", "", 15},
			{15, "10.0.0.1", "10.0.0.1", "", 31},
			{31, "10.0.0.1", "10.0.0.1", "", 61},
			{61, "10.0.0.1", "10.0.0.1", "", 91}, // every 30 s from here
			{91, "10.0.0.1", "10.0.0.1", "", 121},
			{91, "", "", "back 10.0.0.1", 0},
			{152, "10.0.0.1", "10.0.0.1", "lost 10.0.0.1", 153}, // a calm minute forgives
		}},
		{"all of an interface together", PutBack, []at{
			{0, "10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2", "lost 10.0.0.1 lost 10.0.0.2", 1},
			{0.5, "10.0.0.2", "", "back 10.0.0.1", 1},
		}},
		{"gives way", Report, []at{
			{0, "10.0.0.1", "", "lost 10.0.0.1", 0},
			{9, "10.0.0.1", "", "", 0},
			{10, "", "", "back 10.0.0.1", 0},
		}},
		{"tells once why it cannot", PutBack, []at{
			{0, "10.0.0.1!", "", "lost 10.0.0.1: gone", 0},
			{1, "10.0.0.1!", "", "", 0},
			{2, "10.0.0.1", "10.0.0.1", "", 3},
			{2, "10.0.0.1!", "", "lost 10.0.0.1: gone", 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, start := newWatch(tt.policy), time.Unix(1000, 0)
			time := func(s float64) time.Time { return start.Add(time.Duration(s * 1e9)) }
			for _, step := range tt.script {
				held := State{}
				var changes []Change
				var errs []*OpError
				for _, object := range strings.Fields(step.missing) {
					ip, gone := strings.CutSuffix(object, "!")
					a := want(ip + "@eth0").Addresses[0].normal()
					held.Addresses = append(held.Addresses, a)
					if gone {
						errs = append(errs, &OpError{Object: a.object(), Err: fs.ErrNotExist})
					} else {
						changes = append(changes, Change{Op: AddAddress, Address: a})
					}
				}
				due, events, wake := w.step(time(step.s), held, changes, errs)
				var dues, told []string
				for _, c := range due {
					dues = append(dues, c.Address.Addr.String())
				}
				for _, e := range events {
					ip, _, _ := strings.Cut(e.Object, "/")
					text := fmt.Sprint(e.Kind, " ", ip)
					if errors.Is(e.Err, fs.ErrNotExist) {
						text += ": gone"
					}
					if e.Kind == Lost && e.Address.Addr.String() != ip {
						t.Errorf("at %v: event without its address: %+v", step.s, e)
					}
					told = append(told, text)
				}
				if got := strings.Join(dues, " "); got != step.due {
					t.Errorf("at %v: due %q, want %q", step.s, got, step.due)
				}
				if got := strings.Join(told, " "); got != step.events {
					t.Errorf("at %v: events %q, want %q", step.s, got, step.events)
				}
				if step.wake == 0 && !wake.IsZero() || step.wake != 0 && !wake.Equal(time(step.wake)) {
					t.Errorf("at %v: wake at %v, want %v", step.s, wake.Sub(start), step.wake)
				}
			}
		})
	}
}

func TestFollowRenamedInterfaces(t *testing.T) {
	index := map[string]int{"eth0": 2, "gone": 5}
	s := State{Addresses: want("10.0.0.1@eth0", "10.0.0.2@gone", "10.0.0.3@lo").Addresses, SuppressARP: []string{"eth0", "all"}}
	got := follow(s, index, map[int]string{2: "lan0", 3: "eth0", 9: "gone", 1: "lo"})
	text := fmt.Sprint(got.Addresses, got.SuppressARP)
	if text != "[10.0.0.1/32 dev lan0 10.0.0.2/32 dev gone 10.0.0.3/32 dev lo] [lan0 all]" {
		t.Error(text)
	}
	if s.Addresses[0].Interface != "eth0" {
		t.Error("the caller's state was changed")
	}
}

// A slow callback gets every event in order and delays nobody.
func TestMailbox(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var got []string
	b := newMailbox(func(e Event) {
		if len(got) == 0 {
			close(entered)
			<-leave
		}
		got = append(got, e.Object)
	})
	done := make(chan struct{})
	go func() { defer close(done); b.deliver() }()
	b.put([]Event{{Object: "0"}})
	<-entered
	for _, object := range []string{"1", "2", "3"} {
		b.put([]Event{{Object: object}}) // does not block
	}
	b.close()
	close(leave)
	<-done
	if fmt.Sprint(got) != "[0 1 2 3]" {
		t.Errorf("got %v", got)
	}
}
