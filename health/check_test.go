package health

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"
)

var passes = ProberFunc(func(context.Context) (Report, error) { return Report{}, nil })

// picky is a Prober that is wrong.
type picky struct{ fake }

func (*picky) Validate() error { return invalid("it is picky") }

func TestCheckDefaults(t *testing.T) {
	for _, tt := range []struct {
		name     string
		in, want Check
	}{
		{"zero", Check{}, Check{Interval: 5 * time.Second, DownInterval: 5 * time.Second, RetryInterval: time.Second, Timeout: time.Second, Rise: 1, Fall: 3, Jitter: 0.1}},
		{
			"a short interval shortens the others",
			Check{Interval: 100 * ms},
			Check{Interval: 100 * ms, DownInterval: 100 * ms, RetryInterval: 100 * ms, Timeout: time.Second, Rise: 1, Fall: 3, Jitter: 0.1},
		},
		{"no jitter", Check{Jitter: -1}, Check{Interval: 5 * time.Second, DownInterval: 5 * time.Second, RetryInterval: time.Second, Timeout: time.Second, Rise: 1, Fall: 3}},
	} {
		tt.in.Prober = passes
		got, err := tt.in.normal()
		got.Prober = nil
		if err != nil || got.Jitter != tt.want.Jitter || got.Interval != tt.want.Interval || got.DownInterval != tt.want.DownInterval ||
			got.RetryInterval != tt.want.RetryInterval || got.Timeout != tt.want.Timeout || got.Rise != tt.want.Rise || got.Fall != tt.want.Fall {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	m, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, says string
		check      Check
	}{
		{"no Prober", "no Prober", Check{}},
		{"a Prober that is wrong", "it is picky", Check{Prober: &picky{}}},
		{"an interval that is too short", "Interval is 1ms", Check{Prober: passes, Interval: ms}},
		{"a negative interval", "Interval is -1s", Check{Prober: passes, Interval: -time.Second}},
		{"a negative interval when down", "DownInterval", Check{Prober: passes, DownInterval: -1}},
		{"a negative interval to retry", "RetryInterval", Check{Prober: passes, RetryInterval: -1}},
		{"a negative timeout", "Timeout", Check{Prober: passes, Timeout: -1}},
		{"a negative Rise", "Rise is -1", Check{Prober: passes, Rise: -1}},
		{"a negative Fall", "Fall -1", Check{Prober: passes, Fall: -1}},
		{"a state that does not exist", "Initial is State(9)", Check{Prober: passes, Initial: 9}},
		{"too much jitter", "Jitter is 0.6", Check{Prober: passes, Jitter: 0.6}},
		{"a jitter that is no number", "Jitter is NaN", Check{Prober: passes, Jitter: math.NaN()}},
		{"a negative age", "MaxAge is -1ns", Check{Prober: passes, MaxAge: -1}},
		{"an age that every result exceeds", "6.5s", Check{Prober: passes, MaxAge: 6500 * ms}},
		{"an age that is shorter than the interval when down", "MaxAge", Check{Prober: passes, DownInterval: time.Minute, MaxAge: time.Minute}},
	} {
		err := m.Set("web", tt.check)
		var op *OpError
		if !errors.Is(err, fs.ErrInvalid) || !errors.As(err, &op) || op.Object != "web" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if all := m.Snapshot(); len(all) != 0 {
		t.Errorf("checks that were refused are there: %v", all)
	}
	if err := m.Set("web", Check{Prober: passes, MaxAge: 6501 * ms}); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{Probes: -1}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Probes -1: %v", err)
	}
}

func TestStateText(t *testing.T) {
	for _, s := range []State{Unknown, Up, Down} {
		text, err := s.MarshalText()
		var back State
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v is written %q, %v, and read %v", s, text, err, back)
		}
	}
	var s State
	if err := s.UnmarshalText([]byte("dead")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("dead is a state: %v", err)
	}
	if _, err := State(3).MarshalText(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("State(3) is written: %v", err)
	}
}

func TestStatusAndChangeAreReadableAsJSON(t *testing.T) {
	status, err := json.Marshal(Status{State: Down, Err: errDead})
	if err != nil || !strings.Contains(string(status), `"State":"down"`) || !strings.Contains(string(status), `"Err":"dead"`) || !strings.Contains(string(status), `"Inconclusive":""`) {
		t.Errorf("%s, %v", status, err)
	}
	change, err := json.Marshal(Change{ID: "web", From: Up, To: Down, Err: errDead})
	if err != nil || !strings.Contains(string(change), `"To":"down"`) || !strings.Contains(string(change), `"Err":"dead"`) {
		t.Errorf("%s, %v", change, err)
	}
}
