package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/health"
)

func TestDefaults(t *testing.T) {
	cfg, err := parse([]string{"-vrid", "100", "-vip", "172.16.36.100/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	process, ok := cfg.checks["process"].Prober.(*health.Process)
	if !ok || process.PIDFile != "/run/nginx.pid" || process.Name != "nginx" {
		t.Errorf("the process is %+v, want Debian's nginx", process)
	}
	http, ok := cfg.checks["http"].Prober.(health.HTTP)
	if !ok || http.Addr.String() != "127.0.0.1:80" || http.URLs[0].Path != "/" {
		t.Errorf("HTTP is %+v, want 127.0.0.1:80 and /", http)
	}
	if _, ok := cfg.checks["down"]; ok || cfg.weight != 0 {
		t.Errorf("there is a down file without -down, or weight %d, want a fault", cfg.weight)
	}
}

func TestFlags(t *testing.T) {
	cfg, err := parse(strings.Fields(`-vrid 7 -vip 10.0.0.1 -vip 10.0.0.2/24 -pid= -url http://10.0.0.9:8080/ok?deep=1 -match ^OK -down /down
		-check 2s -timeout 300ms -rise 3 -fall 4 -weight -20 -interval 100ms -priority 90 -preempt-delay 5s -metrics :9100`), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.checks["http"]
	http := c.Prober.(health.HTTP)
	if http.Addr.String() != "10.0.0.9:8080" || http.URLs[0].Path != "/ok?deep=1" || !http.URLs[0].Body.MatchString("OK.") ||
		c.Interval != 2*time.Second || c.Timeout != 300*time.Millisecond || c.Rise != 3 || c.Fall != 4 {
		t.Errorf("HTTP is %+v of %+v", c, http)
	}
	if f := cfg.checks["down"].Prober.(health.File); f != (health.File{Path: "/down", Test: health.FileAbsent}) {
		t.Errorf("the down file is %+v", f)
	}
	if cfg.checks["process"].Prober != nil {
		t.Error("a process is watched without -pid")
	}
	if cfg.weight != -20 || cfg.metrics != ":9100" || cfg.router.Priority != 90 || len(cfg.router.Addresses) != 2 ||
		cfg.vip.State.Addresses[1].Bits != 24 || cfg.router.PreemptDelay != 5*time.Second {
		t.Errorf("%+v", cfg)
	}
}

func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"-vrid 1":           "no virtual address",
		"-vrid 1 -vip nine": "nine",
		"-vrid 1 -vip 10.0.0.1 -url http://10.0.0.1/":    "would ask the other one",
		"-vrid 1 -vip 10.0.0.1 -url http://localhost/":   "an address of this machine",
		"-vrid 1 -vip 10.0.0.1 -url https://127.0.0.1/":  "want http://",
		"-vrid 1 -vip 10.0.0.1 -url http://127.0.0.1:x/": "port",
		"-vrid 1 -vip 10.0.0.1 -match (":                 "missing closing )",
		"-vrid 1 -vip 10.0.0.1 -weight 20":               "takes priority away",
		"-vrid 1 -vip 10.0.0.1 -pid= -url=":              "nothing is watched",
		"-vrid 1 -vip 10.0.0.1 more":                     "unexpected argument",
		"-vrid 256 -vip 10.0.0.1":                        "256",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
