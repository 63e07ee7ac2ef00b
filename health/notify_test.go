package health

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// deliver queues what f queues, while nobody delivers, and returns what is told then.
func deliver(cfg Config, f func(*notifier)) (told []string) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.OnChange = func(c Change) { told = append(told, fmt.Sprintf("%s %v %v", c.ID, c.From, c.To)) }
	n := newNotifier(cfg)
	f(n)
	n.close()
	n.run()
	return told
}

func TestNotifierKeepsTheOrder(t *testing.T) {
	a, b := &member{id: "a"}, &member{id: "b"}
	told := deliver(Config{}, func(n *notifier) {
		n.changed(a, Change{From: Unknown, To: Up})
		n.changed(b, Change{From: Unknown, To: Down})
		n.changed(a, Change{From: Up, To: Down})
	})
	if want := []string{"a unknown up", "b unknown down", "a up down"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestNotifierForgets(t *testing.T) {
	a, b := &member{id: "a"}, &member{id: "b"}
	told := deliver(Config{}, func(n *notifier) {
		n.changed(a, Change{To: Up})
		n.changed(b, Change{To: Up})
		n.forget(a)
		n.changed(&member{id: "a"}, Change{To: Down}) // another of this name
	})
	if want := []string{"b unknown up", "a unknown down"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// When very many changes wait, those of one check become one, which says where it was
// and where it is.
func TestNotifierMerges(t *testing.T) {
	const flaps = 10 * noticesMost
	calm, gone := &member{id: "calm"}, &member{id: "gone"}
	wild := []*member{{id: "w0"}, {id: "w1"}, {id: "w2"}}
	var n *notifier
	told := deliver(Config{}, func(of *notifier) {
		n = of
		n.changed(calm, Change{From: Unknown, To: Up})
		n.changed(gone, Change{From: Unknown, To: Up})
		n.forget(gone)
		state := Unknown
		for f := range flaps {
			to := Up
			if f%2 == 1 {
				to = Down
			}
			for _, m := range wild {
				n.changed(m, Change{From: state, To: to})
			}
			state = to
			if len(n.queue) > noticesMost {
				t.Fatalf("%d notices wait", len(n.queue))
			}
		}
	})
	if told[0] != "calm unknown up" || len(told) > noticesMost {
		t.Errorf("%d changes are told, the first is %q", len(told), told[0])
	}
	last := map[string]string{}
	for _, s := range told[1:] {
		f := strings.Fields(s)
		if before, ok := last[f[0]]; !ok && f[1] != "unknown" || ok && f[1] != before {
			t.Fatalf("%q is told after %q: a change is missing", s, before)
		}
		last[f[0]] = f[2]
	}
	if len(last) != 3 || last["w0"] != "down" || last["w2"] != "down" {
		t.Errorf("in the end the states are %v", last)
	}
}

func TestNotifierLogs(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := &member{id: "web"}
	deliver(Config{Logger: log}, func(n *notifier) {
		n.changed(a, Change{From: Unknown, To: Up})
		n.changed(a, Change{From: Up, To: Up, Weight: Weight{Op: SetWeight, N: 7}})
		n.probed(a, outcome{took: time.Second, err: errDead})
		n.changed(a, Change{From: Up, To: Down, Err: errDead})
	})
	for _, want := range []string{
		"level=INFO msg=\"state changed\" check=web state_from=unknown state_to=up\n",
		"level=INFO msg=\"weight changed\" check=web",
		"level=DEBUG msg=probed check=web duration=1s err=dead\n",
		"level=INFO msg=\"state changed\" check=web state_from=up state_to=down err=dead\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, text.String())
		}
	}
}
