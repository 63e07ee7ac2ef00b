package director

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/ipvs/userspace"
)

// whole has every field of the file.
const whole = `{
  "interface": "eth1", "inside": "eth2",
  "services": [{
    "vip": "[2001:db8::1]:53", "protocol": "udp", "scheduler": "sh", "forward": "tun", "tunnel": "gue:6080", "persistence": "2m", "proxy_protocol": true,
    "real": [{"addr": "[2001:db8::2]:53", "weight": 0}, {"addr": "10.0.0.2:53"}],
    "check": {"kind": "tcp", "interval": "2s", "down": "4s", "retry": "500ms", "timeout": "3s", "rise": 2, "fall": 4, "port": 54, "expect": "^220 "},
    "quorum": 2, "hysteresis": 1, "sorry": "[2001:db8::9]:53", "fail_open": 0.5, "inhibit": true, "slow_start": "10s", "drain": "1m"
  }],
  "vrrp": {"interface": "eth3", "vrid": 51, "priority": 200, "interval": "100ms", "nopreempt": false, "preempt_delay": "20s", "peers": ["fe80::2"]},
  "sync": {"interface": "eth4", "id": 7}
}`

func TestTheWholeFileIsUnderstood(t *testing.T) {
	cfg, err := parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.services[0]
	gue := ipvs.Tunnel{Type: ipvs.GUE, Port: 6080}
	for what, ok := range map[string]bool{
		"id":          s.ID == ipvs.ServiceID{Protocol: ipvs.UDP, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")},
		"scheduler":   s.Scheduler == ipvs.SH,
		"persistence": s.Persistence.Timeout == 2*time.Minute,
		"first real":  s.Destinations[0] == ipvs.Destination{Addr: netip.MustParseAddrPort("[2001:db8::2]:53"), Forward: ipvs.ForwardTunnel, Tunnel: gue},
		"second real": s.Destinations[1] == ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.2:53"), Forward: ipvs.ForwardTunnel, Tunnel: gue, Weight: 1},
		"proxy":       s.proxy,
		"policy":      s.policy == health.Policy{Quorum: 2, Hysteresis: 1, Sorry: true, FailOpen: 0.5, Inhibit: true, SlowStart: 10 * time.Second},
		"sorry":       s.sorry != nil && s.sorry.Addr == netip.MustParseAddrPort("[2001:db8::9]:53"),
		"drain":       s.drain == time.Minute,
		"addresses":   len(cfg.addresses) == 1 && cfg.addresses[0].Interface == "eth1",
		"vrrp":        cfg.router.Interface == "eth3" && cfg.router.VRID == 51 && cfg.router.Priority == 200 && cfg.router.Interval == 100*time.Millisecond && cfg.router.PreemptDelay == 20*time.Second,
		"peers":       len(cfg.router.Peers) == 1,
		"sync":        *cfg.sync == syncFile{"eth4", 7},
	} {
		if !ok {
			t.Errorf("%s: %+v %+v", what, s, cfg)
		}
	}
	check := s.check.of(target{to: s.Destinations[1].Addr})
	if check.Interval != 2*time.Second || check.DownInterval != 4*time.Second || check.RetryInterval != 500*time.Millisecond || check.Timeout != 3*time.Second || check.Rise != 2 || check.Fall != 4 {
		t.Errorf("the check is %+v", check)
	}
	if p := check.Prober.(health.TCP); p.Addr.String() != "10.0.0.2:54" || p.Expect.String() != "^220 " {
		t.Errorf("the prober is %+v", p)
	}
}

func TestDefaultsAreThoseOfTheREADME(t *testing.T) {
	cfg, err := parse([]byte(`{"services": [{"vip": "10.0.0.1:80", "real": [{"addr": "10.0.0.2:80"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.services[0]
	if s.ID.Protocol != ipvs.TCP || s.Scheduler != ipvs.WLC || s.Destinations[0].Forward != ipvs.ForwardRoute || s.Destinations[0].Weight != 1 || s.drain != drainTime || s.check != nil {
		t.Errorf("the service is %+v", s)
	}
	if cfg.addresses[0].Interface != "eth0" || cfg.router != nil || cfg.sync != nil {
		t.Errorf("the configuration is %+v", cfg)
	}
}

// TestEveryKindIsTaken has a prober of each kind, all fields given.
func TestEveryKindIsTaken(t *testing.T) {
	http := `, "method": "GET", "path": "/x", "host": "a.test", "status": "200-299,301", "body": "ok", "digest": "d41d8cd98f00b204e9800998ecf8427e", "reset": true`
	tls := `, "verify": true, "server_name": "a.test", "min_validity": "24h"`
	for name, fields := range map[string]string{
		"tcp": `, "send": "x", "expect": "y", "reset": true`, "http": http, "https": http + tls, "tls": tls,
		"smtp": `, "hello": "a.test"`, "dns": `, "name": "a.test", "type": "A", "answer": true, "tcp": true`,
		"udp": `, "payload": "x", "reply": true, "expect": "y"`, "grpc": `, "service": "a.B", "authority": "a.test"`,
		"ping": "", "script": `, "command": ["true", "{addr}"], "dynamic": true`,
	} {
		text := fmt.Sprintf(`{"services": [{"vip": "10.0.0.1:80", "real": [{"addr": "10.0.0.2:80"}], "check": {"kind": %q%s}}]}`, name, fields)
		if _, err := parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if kinds[name] == nil {
			t.Errorf("there is no kind %s", name)
		}
	}
	if len(kinds) != 10 {
		t.Errorf("%d kinds, of which 10 are tested", len(kinds))
	}
}

func TestADirectorThatReturnsLearnsFirst(t *testing.T) {
	for fields, want := range map[string]time.Duration{
		`"vrrp": {"vrid": 1}`:                                    0,
		`"vrrp": {"vrid": 1}, "sync": {}`:                        learnTime,
		`"vrrp": {"vrid": 1, "preempt_delay": "0s"}, "sync": {}`: 0,
		`"vrrp": {"vrid": 1, "nopreempt": true}, "sync": {}`:     0,
		`"vrrp": {"vrid": 1, "preempt_delay": "1m"}, "sync": {}`: time.Minute,
	} {
		cfg, err := parse([]byte(`{"services": [{"vip": "10.0.0.1:80"}], ` + fields + `}`))
		if err != nil || cfg.router.PreemptDelay != want {
			t.Errorf("%s: a delay of %v (%v), want %v", fields, cfg.router, err, want)
		}
	}
}

func TestWhatIsWrongIsSaidInWordsWithItsPlace(t *testing.T) {
	services := func(text string) string { return `{"services": [` + text + `]}` }
	with := func(field string) string { return services(`{"vip": "10.0.0.1:80", ` + field + `}`) }
	reals := func(list string) string { return with(`"real": [` + list + `]`) }
	check := func(fields string) string {
		return with(`"real": [{"addr": "10.0.0.2:80"}], "check": {` + fields + `}`)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"an empty file", "", "line 1: "},
		{"a comma too many", "{\n\"services\": [],\n}", "line 3: "},
		{"more after the end", services(`{"vip": "10.0.0.1:80"}`) + "{}", "line 1: "},
		{"no object", "[]", "want an object"},
		{"no services", "{}", "services: there is none"},
		{"an unknown field", `{"servces": []}`, "servces: no such field; there are inside, interface, services"},
		{"a field in capitals", `{"Services": []}`, "Services: no such field"},
		{"a field twice", `{"interface": "a", "interface": "b"}`, "interface: there twice"},
		{"a list that is none", `{"services": {}}`, "services: want a list"},
		{"no address", services(`{}`), "services[0].vip: no virtual address"},
		{"an address without a port", services(`{"vip": "10.0.0.1"}`), "services[0].vip: "},
		{"a number that is text", with(`"quorum": "1"`), `services[0].quorum: want a whole number, not "1"`},
		{"text that is a number", with(`"drain": 30`), "services[0].drain: want text in quotes, not 30"},
		{"a duration without unit", with(`"drain": "30"`), "services[0].drain: "},
		{"a negative duration", with(`"drain": "-1s"`), "negative"},
		{"port 0 without persistence", services(`{"vip": "10.0.0.1:0"}`), "persistence"},
		{"an unknown mode", with(`"forward": "drr"`), "services[0].forward: \"drr\": want dr, nat or tun"},
		{"an unknown protocol", with(`"protocol": "icmp"`), "services[0].protocol: "},
		{"another port by direct routing", reals(`{"addr": "10.0.0.2:81"}`), "services[0].real[0]: "},
		{"a negative weight", reals(`{"addr": "10.0.0.2:80"}, {"addr": "10.0.0.3:80", "weight": -1}`), "services[0].real[1]: "},
		{"a real server twice", reals(`{"addr": "10.0.0.2:80"}, {"addr": "10.0.0.2:80"}`), "twice"},
		{"a real server without address", reals(`{"weight": 1}`), "services[0].real[0]: no addr"},
		{"an unknown field below", reals(`{"addr": "10.0.0.2:80", "wieght": 1}`), "services[0].real[0].wieght: no such field; there are addr, weight"},
		{"gue without a port", with(`"forward": "tun", "tunnel": "gue", "real": [{"addr": "10.0.0.2:80"}]`), "port"},
		{"a service twice", services(`{"vip": "10.0.0.1:80"}, {"vip": "10.0.0.1:80"}`), "services[1].vip: tcp/10.0.0.1:80 is services[0] already"},
		{"an interface that is a path", `{"interface": "../eth0", "services": [{"vip": "10.0.0.1:80"}]}`, "eth0"},
		{"a check without kind", check(``), `services[0].check.kind: "": want one of `},
		{"a check of another kind", check(`"kind": "ping6"`), `services[0].check.kind: "ping6": want one of `},
		{"a field of another kind", check(`"kind": "tcp", "path": "/"`), "services[0].check.path: no such field"},
		{"an expression that is none", check(`"kind": "tcp", "expect": "("`), "services[0].check.expect: "},
		{"an interval that is too short", check(`"kind": "tcp", "interval": "1ms"`), "services[0].check: "},
		{"a status that is none", check(`"kind": "http", "status": "20-"`), "services[0].check.status: "},
		{"a field of http for https too", check(`"kind": "https", "path": "x"`), "does not begin with a slash"},
		{"a script without program", check(`"kind": "script"`), "services[0].check: "},
		{"a command that is text", check(`"kind": "script", "command": "true"`), "services[0].check.command: want a list"},
		{"through nat", with(`"forward": "nat", "real": [{"addr": "10.0.0.2:80"}], "check": {"kind": "tcp", "through_vip": true}`), "services[0].check.through_vip: it is for dr and tun"},
		{"a script through the virtual address", check(`"kind": "script", "command": ["true"], "through_vip": true`), `services[0].check.through_vip: not with "script"`},
		{"a source for pings", check(`"kind": "ping", "source": "10.0.0.1"`), `services[0].check.source: not with "ping"`},
		{"hysteresis above the quorum", with(`"hysteresis": 1`), "services[0]: "},
		{"a share above one", with(`"fail_open": 50`), "services[0]: "},
		{"a sorry server twice", with(`"real": [{"addr": "10.0.0.2:80"}], "sorry": "10.0.0.2:80"`), "services[0].sorry: "},
		{"no vrid", `{"services": [{"vip": "10.0.0.1:80"}], "vrrp": {}}`, "vrrp: "},
		{"a vrid that is too large", `{"services": [{"vip": "10.0.0.1:80"}], "vrrp": {"vrid": 256}}`, "vrrp.vrid: want a whole number from 0 to 255, not 256"},
		{"both families in one election", `{"services": [{"vip": "10.0.0.1:80"}, {"vip": "[2001:db8::1]:80"}], "vrrp": {"vrid": 1}}`, "vrrp: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s answered %v, want an error with %q", tt.text, err, tt.want)
			}
		})
	}
}

func TestAnErrorNamesTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "director.json")
	if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(name); err == nil || !strings.HasPrefix(err.Error(), name+": services: ") {
		t.Errorf("got %v", err)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"":              "give -config",
		"-config x now": "unexpected argument",
		"-vip 10.0.0.1": "not defined",
	} {
		if _, err := flags(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q answered %v, want an error with %q", args, err, want)
		}
	}
}

func virtual(addr string) ipvs.Service {
	return ipvs.Service{ID: ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort(addr)}, Scheduler: ipvs.RR}
}

func TestOwnedServicesAreNotedBeforeAndForgottenAfter(t *testing.T) {
	o := &ownedServices{path: filepath.Join(t.TempDir(), "lvskit", "rules")}
	old, now := virtual("10.0.0.1:80"), virtual("10.0.0.2:80")
	marked := ipvs.Service{ID: ipvs.ServiceID{FWMark: 7, Family: ipvs.IPv6}, Scheduler: ipvs.RR}
	owns := func(want ...ipvs.Service) {
		t.Helper()
		policy := o.policy()
		for _, s := range []ipvs.Service{old, now, marked} {
			if got := policy.Owns(s.ID); got != contains(want, s.ID) {
				t.Errorf("owns %s: %v, want %v", s.ID, got, !got)
			}
		}
	}
	steps := []struct {
		do   func() error
		want []ipvs.Service
	}{
		{func() error { return nil }, nil},
		{func() error { return o.ownOnly([]ipvs.Service{old}) }, []ipvs.Service{old}},
		{func() error { return o.own([]ipvs.Service{now, marked}) }, []ipvs.Service{old, now, marked}},
		{func() error { return o.ownOnly([]ipvs.Service{now}) }, []ipvs.Service{now}},
		{func() error { return o.ownOnly(nil) }, nil},
		{func() error { return o.ownOnly(nil) }, nil},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		owns(step.want...)
	}
	if left, err := filepath.Glob(o.path + "*"); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTheEngineTakesWhatItCanForward(t *testing.T) {
	const nat = `{"services": [{"vip": "192.0.2.1:80", "forward": "nat", "real": [{"addr": "10.0.0.1:80"}]}]}`
	for _, tt := range []struct{ name, text, want string }{
		{"nat", nat, ""},
		{"nothing said, which is dr", strings.Replace(nat, `"forward": "nat", `, "", 1), "services[0].forward: only the kernel can forward by dr, and here the userspace engine forwards (why): write \"forward\": \"nat\""},
		{"tun", strings.Replace(nat, "nat", "tun", 1), "services[0].forward: only the kernel can forward by tun"},
		{"sctp", strings.Replace(nat, `"forward"`, `"protocol": "sctp", "forward"`, 1), "services[0].protocol: only the kernel can forward SCTP"},
		{"sync", strings.Replace(nat, `{"services"`, `{"sync": {"id": 1}, "services"`, 1), "sync: only the kernel can tell another director"},
	} {
		cfg, err := parse([]byte(tt.text))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		cfg, err = (&enginePlane{why: "why"}).fit(cfg)
		if tt.want == "" && (err != nil || len(cfg.kernel) > 0 || len(cfg.services) != 1) {
			t.Errorf("%s: %+v, %v", tt.name, cfg, err)
		}
		if tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestProxyProtocolIsForUserspaceAndForGood(t *testing.T) {
	read := func(proxy string) config {
		t.Helper()
		cfg, err := parse([]byte(`{"services": [{"vip": "192.0.2.1:80", "forward": "nat", "proxy_protocol": ` + proxy + `, "real": [{"addr": "10.0.0.1:80"}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := read("true")
	if _, err := new(kernelPlane).fit(cfg); err == nil || !strings.HasPrefix(err.Error(), "services[0].proxy_protocol: only -dataplane userspace") {
		t.Errorf("the kernel: %v", err)
	}
	e := new(enginePlane)
	if _, err := e.fit(cfg); err != nil || e.source(cfg.services[0].ID) != userspace.SourceProxy {
		t.Errorf("the engine: %v, %v", e.source(cfg.services[0].ID), err)
	}
	if _, err := e.fit(read("false")); err == nil || !strings.Contains(err.Error(), "cannot change") {
		t.Errorf("a change: %v", err)
	}
}

func TestTheDataplaneIsOneOfThree(t *testing.T) {
	for name, want := range map[string]string{"": Auto, "-dataplane=kernel": Kernel, "-dataplane=userspace": Userspace} {
		if o, err := flags(append([]string{"-config", "x"}, strings.Fields(name)...)); err != nil || o.dataplane != want {
			t.Errorf("%s: %q, %v", name, o.dataplane, err)
		}
	}
	if _, err := flags([]string{"-config", "x", "-dataplane", "both"}); err == nil {
		t.Error("there is no dataplane both")
	}
}
