package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheBoundIsThatOfTheRFC(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		priority int
		want     time.Duration
	}{
		{time.Second, 100, 3609375 * time.Microsecond},
		{250 * time.Millisecond, 90, 912109375 * time.Nanosecond},
		{100 * time.Millisecond, 254, 300781250 * time.Nanosecond},
	} {
		if got := bound(tt.interval, tt.priority); got != tt.want {
			t.Errorf("interval %v, priority %d: %v, want %v", tt.interval, tt.priority, got, tt.want)
		}
	}
}

func TestTheCheckPromisesItsWorstCase(t *testing.T) {
	half, tenth := duration(500*time.Millisecond), duration(100*time.Millisecond)
	for _, tt := range []struct {
		name  string
		check check
		want  time.Duration
	}{
		{"one probe", check{Interval: half, Timeout: tenth, Retry: half, Fall: 1}, 650 * time.Millisecond},
		{"retries that the timeout is longer than", check{Interval: half, Timeout: half, Retry: tenth, Fall: 3}, 2050 * time.Millisecond},
		{"retries that are longer than the timeout", check{Interval: half, Timeout: tenth, Retry: half, Fall: 2}, 1200 * time.Millisecond},
	} {
		if got := tt.check.promise(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTheConfigurationOfADirectorIsAsItReadsIt(t *testing.T) {
	write := func(plane dataplane) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "director.json")
		if err := writeConfig(file, plane, 90, 250*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := write(inUserspace); !strings.Contains(text, `"forward": "nat"`) || strings.Contains(text, "sync") {
		t.Errorf("the configuration for userspace is\n%s", text)
	}
	text := write(inKernel)
	for _, want := range []string{`"forward": "dr"`, `"sync": {`, `"vip": "192.168.247.188:80"`, `"priority": 90`, `"interval": "250ms"`, `"timeout": "500ms"`, `"addr": "192.168.247.137:80"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the configuration lacks %s:\n%s", want, text)
		}
	}
	if !json.Valid([]byte(text)) {
		t.Errorf("this is not JSON:\n%s", text)
	}
}

func TestWrongFlagsAreRefusedInWords(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"no requests", "-rate 0", "-rate 0"},
		{"an interval that VRRP cannot say", "-interval 55ms", "hundredths"},
		{"an interval that is too short", "-interval 10ms", "50ms"},
		{"a result of what has no end", "-hold -json", "-hold"},
		{"a word too many", "now", "unexpected argument"},
		{"no such dataplane", "-dataplane both", "auto, kernel or userspace"},
	} {
		if _, err := parse(strings.Fields(tt.args), t.Output()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	if cfg, err := parse(nil, t.Output()); err != nil || cfg.rate != 100 {
		t.Errorf("no flags: %+v, %v", cfg, err)
	}
}
