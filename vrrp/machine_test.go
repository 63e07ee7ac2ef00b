package vrrp

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var updateScripts = flag.Bool("update-scripts", false, "write what the machine does into testdata/machine")

// TestMachine replays testdata/machine: scripts in virtual time. "# title" begins a
// case, "router NAME option..." makes a machine, "AT [NAME] input..." steps it;
// the indented lines are what must come out: actions, events, and after them the
// timer that runs. "AT until" gives all machines their ticks up to that time.
func TestMachine(t *testing.T) {
	files, err := filepath.Glob("testdata/machine/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
			title, _, _ := strings.Cut(c, "\n")
			t.Run(filepath.Base(file)+"/"+strings.TrimPrefix(title, "# "), func(t *testing.T) {
				got := replay(t, c)
				out = append(out, got)
				if got != c && !*updateScripts {
					t.Errorf("got:\n%s\n\nwant:\n%s", got, c)
				}
			})
		}
		if *updateScripts {
			if err := os.WriteFile(file, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// script is a case that is being replayed.
type script struct {
	t     *testing.T
	names []string
	ms    []*machine
	group *Group
	out   []string
}

// replay runs a case and returns it with what came out.
func replay(t *testing.T, text string) string {
	s := &script{t: t, group: NewGroup("g")}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		s.out = append(s.out, line)
		if word := strings.Fields(line); word[0] == "router" {
			cfg := &Config{Version: V3, Priority: 100, Interval: time.Second, DownCount: 3, Source: netip.MustParseAddr("10.0.0.5")}
			s.names, s.ms = append(s.names, word[1]), append(s.ms, newMachine(s.options(cfg, word[2:])))
		} else if word[0] != "#" {
			s.input(word)
		}
	}
	return strings.Join(s.out, "\n")
}

func (s *script) input(word []string) {
	at, err := time.ParseDuration(word[0])
	if err != nil {
		s.t.Fatal(err)
	}
	if word[1] == "until" {
		s.until(at)
		return
	}
	m := s.ms[0]
	if i := slices.Index(s.names, word[1]); i >= 0 {
		m, word = s.ms[i], word[1:]
	}
	for _, a := range m.step(at, s.parse(m, word[1], word[2:])) {
		s.out = append(s.out, "    "+s.action(a))
	}
	s.timers()
}

// until gives the machines their ticks.
func (s *script) until(end time.Duration) {
	for range 1000 {
		at, i := s.nextTick()
		if i < 0 || at > end {
			s.timers()
			return
		}
		for _, a := range s.ms[i].step(at, input{kind: inTick}) {
			s.out = append(s.out, "    "+at.String()+" "+s.action(a))
		}
	}
	s.t.Error("it does not come to rest")
}

func (s *script) nextTick() (at time.Duration, which int) {
	which = -1
	for i, m := range s.ms {
		if d, ok := m.deadline(); ok && (which < 0 || d < at) {
			at, which = d, i
		}
	}
	return at, which
}

// timers are the states and deadlines after a step.
func (s *script) timers() {
	for i, m := range s.ms {
		line := "    "
		if len(s.ms) > 1 {
			line += s.names[i] + ": "
		}
		line += m.state.String()
		if at, ok := m.deadline(); ok {
			line += " until " + at.String()
		}
		s.out = append(s.out, line)
	}
}

func (s *script) parse(m *machine, verb string, args []string) input {
	kinds := map[string]inputKind{
		"start": inStart, "stop": inStop, "tick": inTick, "advert": inAdvert, "beat": inBeat, "source": inSource,
		"fault": inFault, "priority": inPriority, "config": inConfig, "witness": inWitness, "rival": inRival,
	}
	in := input{kind: kinds[verb]}
	switch in.kind {
	case inAdvert, inBeat, inRival:
		in.from, in.local = netip.MustParseAddr(args[0]), m.source
		in.priority = s.number(args[1])
		in.interval = m.cfg.Interval
		if len(args) > 2 {
			in.interval = s.duration(args[2])
		}
	case inSource:
		in.local = netip.MustParseAddr(args[0])
	case inFault:
		in.fault = Reason(slices.Index(reasonNames[:], strings.ReplaceAll(args[0], "-", " ")))
		in.on = args[1] == "on"
	case inPriority:
		in.priority = s.number(args[0])
	case inConfig:
		cfg := *m.cfg
		in.cfg = s.options(&cfg, args)
	case inWitness:
		in.on = args[0] == "yes"
	case 0:
		s.t.Fatal("no such input: ", verb)
	}
	return in
}

func (s *script) options(cfg *Config, words []string) *Config {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "priority":
			cfg.Priority = s.number(value)
		case "interval":
			cfg.Interval = s.duration(value)
		case "v2":
			cfg.Version = V2
		case "source":
			cfg.Source = netip.MustParseAddr(value)
		case "downcount":
			cfg.DownCount = int(s.number(value))
		case "nopreempt":
			cfg.NoPreempt = value != "no"
		case "preemptdelay":
			cfg.PreemptDelay = s.duration(value)
		case "startupdelay":
			cfg.StartupDelay = s.duration(value)
		case "takeoverdelay":
			cfg.TakeoverDelay = s.duration(value)
		case "witness":
			cfg.Witness = func(context.Context) error { return nil }
		case "group":
			cfg.Group = s.group
		default:
			s.t.Fatal("no such option: ", word)
		}
	}
	return cfg
}

func (s *script) number(text string) uint8 {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		s.t.Fatal(err)
	}
	return uint8(n)
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// action is an action in words.
func (s *script) action(a action) string {
	text := ""
	if len(s.ms) > 1 {
		text = s.names[slices.Index(s.ms, a.m)] + ": "
	}
	switch a.kind {
	case actAdvertise:
		return text + fmt.Sprint("advertise ", a.priority)
	case actEvent:
		text += a.event.Kind.String()
		if a.event.Kind == Transition {
			text += fmt.Sprintf(" %s -> %s: %s", a.event.From, a.event.To, a.event.Reason)
		}
		if a.event.Peer.Addr.IsValid() {
			text += fmt.Sprintf(" (%s, %d)", a.event.Peer.Addr, a.event.Peer.Priority)
		}
		return text
	}
	return text + map[actionKind]string{actAcquire: "acquire", actRelease: "release", actAnnounce: "announce", actWitness: "ask the witness"}[a.kind]
}

// TestStepDoesNotAllocate: a machine is stepped for each packet and each tick.
func TestStepDoesNotAllocate(t *testing.T) {
	cfg := &Config{Version: V3, Priority: 100, Interval: time.Second, DownCount: 3, Source: netip.MustParseAddr("10.0.0.5")}
	m, now := newMachine(cfg), time.Duration(0)
	better := input{kind: inAdvert, from: netip.MustParseAddr("10.0.0.9"), local: cfg.Source, priority: 200, interval: time.Second}
	worse := better
	worse.priority = 50
	m.step(now, input{kind: inStart})
	round := func() { // Backup, Active, an answer, Backup again
		m.step(now, better)
		for m.state == Backup {
			now, _ = m.deadline()
			m.step(now, input{kind: inTick})
		}
		for range 4 {
			now, _ = m.deadline()
			m.step(now, input{kind: inTick})
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations in Backup and Active", n)
	}
	m.step(now, worse)
	if n := testing.AllocsPerRun(100, func() { m.step(now, worse) }); n != 0 {
		t.Errorf("%v allocations with another Active router", n)
	}
}
