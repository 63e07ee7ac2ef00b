package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/nat"
)

func TestFlags(t *testing.T) {
	cfg, err := parse(strings.Fields(`-form ipvs -vrid 51 -priority 90 -interface ens33 -vip 192.168.160.100:3344
		-node 192.168.160.40:30000 -node 192.168.160.90:30000 -backend iptables -again 3s -check 2s`), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := cfg.balancer.(*director)
	if !ok || d.backend != nat.IPTables || cfg.router.Priority != 90 || cfg.again != 3*time.Second {
		t.Errorf("%+v", cfg)
	}
	if got, want := d.rule.String(), "masquerade nodeport: tcp original 192.168.160.100:3344 out ens33 random"; got != want {
		t.Errorf("the rule is %q, want %q", got, want)
	}
	if c := d.checks()["192.168.160.90:30000"]; len(d.checks()) != 2 || c.Interval != 2*time.Second {
		t.Errorf("the checks are %+v", d.checks())
	}
}

func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"-vrid 1":                                                                         "give -vip ADDRESS:PORT",
		"-vrid 1 -vip 10.0.0.1":                                                           "not an ip:port",
		"-vrid 1 -vip 10.0.0.1:0":                                                         "give -vip ADDRESS:PORT",
		"-vrid 1 -vip 10.0.0.1:3344":                                                      "give -node ADDRESS:PORT",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:0":                                        "no port",
		"-vrid 1 -vip 10.0.0.1:1 -node [::1]:1":                                           "another family",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 -node 10.0.0.2:1":                       "twice",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 -form haproxy":                          "want nginx or ipvs",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 -again 0s":                              "-again",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 -backend pf":                            "pf",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 more":                                   "unexpected argument",
		"-vrid 1 -vip 10.0.0.1:1 -node 10.0.0.2:1 -form ipvs -interface abcdefghijklmnop": "abcdefghijklmnop",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// TestConfigurationOfNginx compares what is written with the tutorials' stream
// block.
func TestConfigurationOfNginx(t *testing.T) {
	for vip, listen := range map[string][]string{
		"192.168.160.100:3344": {"listen 3344;", "listen 127.0.0.1:3344;"},
		"[fd00::100]:3344":     {"listen [::]:3344;", "listen [::1]:3344;"},
	} {
		node := strings.NewReplacer("100", "40", "3344", "30000").Replace(vip)
		cfg, err := parse([]string{"-vrid", "51", "-vip", vip, "-node", node, "-run", t.TempDir()}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		n := cfg.balancer.(*nginx)
		if err := n.configure(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(n.run, "nginx.conf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range append(listen, "pid "+n.run+"/nginx.pid;", "server "+node+" max_fails", "proxy_pass nodes;") {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: the configuration lacks %q:\n%s", vip, line, text)
			}
		}
	}
}
