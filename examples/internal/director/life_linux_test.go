package director

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// wholePair starts all that directors may set up: checks through the virtual address,
// election and connection sync.
func (r *rig) wholePair() {
	r.Helper()
	service := r.service()
	service["check"] = service["check"].(object).with("through_vip", true)
	r.doc = object{"services": []object{service}}
	r.pair()
	for _, m := range r.directors {
		m.start()
	}
	r.directors[0].says("state backup -> active")
	for _, s := range r.servers {
		r.served(s, true, time.Minute)
	}
}

// get gets the director's metrics.
func (m *machine) get() string {
	m.Helper()
	_, rest, _ := strings.Cut(m.Output(), "metrics ")
	url, _, found := strings.Cut(rest, "\n")
	if !found {
		m.Fatal("no metrics are served")
	}
	client := http.Client{Transport: &http.Transport{DialContext: m.Dial, DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		m.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		m.Fatal(resp.Status, err)
	}
	return string(text)
}

// empty says that the director has left no note.
func (m *machine) empty() {
	m.Helper()
	if left, err := os.ReadDir(m.run); err != nil || len(left) > 0 {
		m.Errorf("%s left %v, %v", m.Host.Name(), left, err)
	}
}

func TestABackupAndAnActiveLeaveNothingBehind(t *testing.T) {
	r := newRig(t, 2)
	first, second := r.directors[0], r.directors[1]
	before := []string{first.state(), second.state()}
	second.args = append(second.args, "-metrics", "127.0.0.1:0")
	r.wholePair()
	metrics := second.get()
	for _, want := range []string{
		`lvskit_health_check_state{check="tcp/` + r.target + ` ` + r.servers[0].real() + `"} 1`,
		`lvskit_vrrp_`, `remote_address="` + r.servers[1].addr.String() + `"`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, metrics)
		}
	}
	conn := r.connect(nil)
	second.stop()
	second.same("after SIGTERM of the Backup", before[1], second.state())
	second.empty()
	conn.lives("without the Backup")

	second.start()
	r.until("the Backup knows the connection again", func() bool {
		conn.lives("while the Backup learns") // it is told of what is used
		return second.knows(conn)
	})
	first.stop()
	second.says("state backup -> active resigned")
	first.same("after SIGTERM of the Active", before[0], first.state())
	first.empty()
	conn.lives("after the handover")
}

// TestAKilledDirectorReturns kills the Active one and starts it again before its
// cable is in, as a machine boots: it must not have the address, while another has.
func TestAKilledDirectorReturns(t *testing.T) {
	r := newRig(t, 2)
	first, second := r.directors[0], r.directors[1]
	before := first.state()
	r.wholePair()
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := first.link.Down(); err != nil {
		t.Fatal(err)
	}
	second.says("state backup -> active")
	if !first.holds() {
		t.Error("SIGKILL left no address behind: this test shows nothing")
	}
	first.start()
	if first.holds() {
		t.Error("the director is ready, is not Active, and has the address")
	}
	if err := first.link.Up(); err != nil {
		t.Fatal(err)
	}
	first.says("state backup -> active")
	second.says("state active -> backup")
	r.until("the address has moved", func() bool { return first.holds() && !second.holds() })
	r.connect(nil)
	first.stop()
	first.same("after SIGKILL and another run", before, first.state())
	first.empty()
}

func TestReloadChangesOnlyTheDifference(t *testing.T) { onEach(t, reloadChangesOnlyTheDifference) }

func reloadChangesOnlyTheDifference(t *testing.T, plane string) {
	r := newRigOf(t, plane, network{}, 3)
	m := r.directors[0]
	service := r.service(r.servers[0], r.servers[1])
	r.doc = object{"services": []object{service}}
	before := m.state()
	m.start()
	r.directors = r.directors[:1]
	r.served(r.servers[0], true, time.Minute)
	r.served(r.servers[1], true, time.Minute)
	conn := r.connect(r.servers[0])
	// changes are the lines since the last call that say what was changed.
	seen := 0
	changes := func() (lines []string) {
		out := m.Output()
		for line := range strings.Lines(out[seen:]) {
			if strings.HasPrefix(line, "ipvsadm ") || strings.HasPrefix(line, "ip ") || strings.HasPrefix(line, "sysctl ") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		seen = len(out)
		return lines
	}
	expect := func(what string, want ...string) {
		t.Helper()
		r.until(what+": "+strings.Join(want, ", "), func() bool {
			return len(want) == 0 || strings.Contains(m.Output()[seen:], want[len(want)-1])
		})
		if got := changes(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s changed %q, want %q", what, got, want)
		}
	}
	changes()
	table := m.state()

	r.reload(service)
	expect("the same file")
	r.reload(service.with("quorum", 2).with("check", service["check"].(object).with("interval", "600ms")))
	expect("another check and policy")
	good, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"{", strings.Replace(string(good), `"rr"`, `"rr", "wieght": 1`, 1), strings.Replace(string(good), `"services"`, `"vrrp": {"vrid": 1}, "services"`, 1)} {
		complaints := strings.Count(m.Output(), "nothing is changed")
		if err := os.WriteFile(m.file, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		m.hup()
		r.until("a wrong file is reported", func() bool { return strings.Count(m.Output(), "nothing is changed") > complaints })
	}
	expect("a wrong file")
	m.same("after reloads", table, m.state())
	conn.lives("after reloads")

	reals := service["real"].([]object)
	reals[1] = reals[1].with("weight", 5)
	r.reload(service)
	expect("a weight", "ipvsadm -e -t 192.168.247.188:80 -r 192.168.247.136:80 "+r.option()+" -w 5")
	r.reload(service.with("real", append(reals, object{"addr": r.servers[2].real()})).with("scheduler", "wrr"))
	expect("a real server and a scheduler",
		"ipvsadm -E -t 192.168.247.188:80 -s wrr", "ipvsadm -a -t 192.168.247.188:80 -r 192.168.247.137:80 "+r.option()+" -w 1")
	conn.lives("in the end")
	m.stop()
	m.same("in the end", before, m.state())
}
