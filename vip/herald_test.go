package vip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A schedule is played as a script: at a time, what is done, and what is then
// sent; a sending ends as the outcome says.
func TestSchedule(t *testing.T) {
	type at struct {
		s       float64 // seconds
		do      string  // announce, drop, hold, again, defend (in a second)
		sends   int     // addresses
		outcome outcome
	}
	tests := []struct {
		name    string
		refresh time.Duration
		script  []at
	}{
		{"four rounds and no more", 0, []at{
			{0, "announce", 2, sent},
			{1.09, "", 0, sent},
			{1.1, "", 2, sent},
			{2.2, "", 2, sent},
			{4.9, "", 0, sent},
			{5, "", 2, sent},
			{99, "", 0, sent},
		}},
		{"refreshed for as long as it is held", 60 * time.Second, []at{
			{0, "announce", 2, sent},
			{1.1, "", 2, sent},
			{2.2, "", 2, sent},
			{5, "", 2, sent},
			{64, "", 0, sent},
			{65, "", 2, sent},
			{125, "", 2, sent},
			{126, "drop", 0, sent},
			{999, "", 0, sent},
		}},
		{"a second Announce begins anew", 0, []at{
			{0, "announce", 2, sent},
			{1.1, "", 2, sent},
			{1.2, "announce", 2, sent},
			{2.2, "", 0, sent},
			{2.3, "", 2, sent},
			{3.4, "", 2, sent},
			{6.2, "", 2, sent},
			{60, "", 0, sent},
		}},
		{"an end is an end", 0, []at{
			{0, "announce", 2, sent}, {1, "drop", 0, sent}, {1.1, "", 0, sent}, {1.2, "hold", 0, sent}, {2.2, "again", 0, sent}, {9, "", 0, sent},
		}},
		{"what comes back is announced again", 0, []at{
			{0, "announce", 2, sent},
			{1.1, "", 2, sent},
			{2.2, "", 2, sent},
			{5, "", 2, sent},
			{20, "again", 1, sent},
			{21.1, "", 1, sent},
			{22.2, "", 1, sent},
			{25, "", 1, sent},
			{99, "", 0, sent},
		}},
		{"it begins when the interface is ready", 0, []at{
			{0, "announce", 2, unready},
			{0.05, "", 0, sent},
			{0.1, "", 2, unready},
			{0.3, "", 2, unready},
			{0.7, "", 2, unready},
			{1.5, "", 2, unready},
			{2.4, "", 0, sent},
			{2.5, "", 2, sent}, // every second from here
			{3.6, "", 2, sent},
			{4.7, "", 2, sent},
			{7.5, "", 2, sent},
			{99, "", 0, sent},
		}},
		{"a failed round is made up for", 0, []at{
			{0, "announce", 2, sent}, {1.1, "", 2, defeated}, {1.2, "", 2, sent}, {2.2, "", 2, sent}, {5, "", 2, sent}, {99, "", 0, sent},
		}},
		{"a defence is beside the schedule", 0, []at{
			{0, "announce", 2, sent},
			{0.5, "defend", 0, sent},
			{1.1, "", 2, sent},
			{1.5, "", 1, sent},
			{2.2, "", 2, sent},
			{5, "", 2, sent},
			{9, "defend", 0, sent},
			{10, "", 1, unready},
			{99, "", 0, sent},
		}},
		{"what has been let go is not defended", 0, []at{
			{0, "announce", 2, sent},
			{0.5, "defend", 0, sent},
			{0.6, "drop", 0, sent},
			{1.5, "", 0, sent},
			{2, "hold", 0, sent},
			{2.1, "", 0, sent},
		}},
		{"a second Announce is a defence", 0, []at{
			{0, "announce", 2, sent}, {0.5, "defend", 0, sent}, {0.6, "announce", 2, sent}, {1.5, "", 0, sent}, {1.7, "", 2, sent},
		}},
		{"nobody to tell", 60 * time.Second, []at{{0, "announce", 2, nobody}, {999, "", 0, sent}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, s, start := newHerald(tt.refresh), &Set{}, time.Unix(1000, 0)
			h.open()
			addrs := want("10.0.0.1@eth0", "fd00::1@eth0").normal().Addresses
			h.hold(s, addrs)
			for _, step := range tt.script {
				now := start.Add(time.Duration(step.s * 1e9))
				var tasks []task
				var err error
				switch step.do {
				case "announce":
					tasks, err = h.begin(now, s)
				case "defend":
					h.defend(now.Add(defendDelay), h.announced(addrs[0].Addr)[0])
				case "drop":
					h.drop(s)
				case "hold":
					h.hold(s, addrs)
				case "again":
					h.again(now, func(of *Set, a Address) bool { return of == s && a.Addr.Is4() })
				}
				tasks = append(tasks, h.take(now)...)
				if len(tasks) != step.sends || err != nil {
					t.Fatalf("at %v: sends %v, %v, want %d", step.s, tasks, err, step.sends)
				}
				for _, task := range tasks {
					h.finish(now, task, step.outcome)
				}
				if next := h.next(); !next.IsZero() && !next.After(now) {
					t.Fatalf("at %v: next is %v", step.s, next.Sub(start))
				}
			}
		})
	}
}

// A round that was taken before its set let go, or began anew, is not sent.
func TestATaskEndsWithItsSchedule(t *testing.T) {
	h, s, now := newHerald(0), &Set{}, time.Unix(1000, 0)
	if _, err := h.begin(now, s); !errors.Is(err, net.ErrClosed) {
		t.Errorf("not open: %v", err)
	}
	h.open()
	begin := func() task {
		h.hold(s, want("10.0.0.1@eth0").normal().Addresses)
		tasks, err := h.begin(now, s)
		if len(tasks) != 1 || err != nil {
			t.Fatal(tasks, err)
		}
		return tasks[0]
	}
	one := begin()
	if h.entry(one) == nil {
		t.Error("it is over before it began")
	}
	two := begin()
	if h.entry(one) != nil || h.entry(two) == nil {
		t.Error("the second schedule is not in force")
	}
	h.finish(now, one, sent)
	if !h.next().IsZero() {
		t.Error("the first schedule goes on")
	}
	h.hold(s, want("10.0.0.2@eth0").normal().Addresses)
	if h.entry(two) != nil {
		t.Error("an address that is not held any more would be announced")
	}
	three := begin()
	h.drop(s)
	if h.entry(three) != nil {
		t.Error("what was released would be announced")
	}
	three = begin()
	if err := h.close(); err != nil || h.entry(three) != nil {
		t.Error("a closed Manager would announce")
	}
}

func TestPace(t *testing.T) {
	h, start := newHerald(0), time.Unix(1000, 0)
	now, late := start, 0
	for range 2000 {
		for wait := h.pace(now); wait > 0; wait = h.pace(now) {
			now = now.Add(wait)
			if now.Sub(start) < burst {
				late++
			}
		}
	}
	took := now.Sub(start)
	if least, most := 60*time.Millisecond, 63*time.Millisecond; took < least || took > most || late > 64 {
		t.Errorf("2000 frames took %v, want %v to %v", took, least, most)
	}
	n := 0
	for now = now.Add(time.Hour); h.pace(now) == 0; n++ {
	}
	if n != 2*framesPerMilli+1 {
		t.Errorf("after a rest %d frames leave at once", n)
	}
}

func TestChangedLinks(t *testing.T) {
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }
	up := func(index int, last byte, carrier bool) Link {
		return Link{Index: index, Up: true, MAC: mac(last), Carrier: carrier}
	}
	h := newHerald(0)
	for i, step := range []struct {
		links []Link
		want  string
	}{
		{[]Link{up(1, 1, true), up(2, 2, true)}, "map[]"},
		{[]Link{up(1, 1, true), up(2, 3, true)}, "map[2:true]"},
		{[]Link{up(1, 1, false), up(2, 3, true)}, "map[]"},
		{[]Link{up(1, 1, true)}, "map[1:true]"},
		{[]Link{up(1, 1, true), up(2, 4, true)}, "map[]"}, // a new one
	} {
		if got := fmt.Sprint(h.changed(step.links)); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

// Written by hand from RFC 4861 section 4.4, checksum included.
func TestAdvertisementIsWhatTheRFCSays(t *testing.T) {
	const frame = "333300000001 020000000001 86dd" +
		"60000000 0020 3a ff fd000000000000000000000000000001 ff020000000000000000000000000001" +
		"88 00 SUMM FLAG000000 fd000000000000000000000000000001 0201 020000000001"
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for flag, sum := range map[string]string{"20": "5a9b", "a0": "da9a"} {
		text := strings.NewReplacer(" ", "", "FLAG", flag, "SUMM", sum).Replace(frame)
		got := advertisement(mac, netip.MustParseAddr("fd00::1"), flag == "a0")
		if hex.EncodeToString(got) != text {
			t.Errorf("got\n%x, want\n%s", got, text)
		}
		if sum := checksum6(got[etherHead:]); sum != 0 {
			t.Errorf("the checksum of the whole is %x", sum)
		}
	}
}

func TestConfigOfAnnouncements(t *testing.T) {
	for _, d := range []time.Duration{-1, time.Millisecond} {
		if _, err := New(Config{Refresh: d}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Refresh %v: %v", d, err)
		}
	}
}
