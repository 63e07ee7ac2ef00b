package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// untouched is what a test of a changing table does not change: more than fits
// one piece of a dump. passing are the services that come and go, spread over
// the kernel's 256 hash chains.
func untouched(n int) []Service {
	list := make([]Service, n)
	for i := range list {
		list[i] = Service{ID: tcpID(benchAddr(10, i, 80).String()), Scheduler: RR}
	}
	return list
}

func passing() []Change {
	changes := make([]Change, 10)
	for i := range changes {
		changes[i] = Change{Op: AddService, Service: Service{ID: tcpID(benchAddr(20, i*25, 80).String()), Scheduler: RR}}
	}
	return changes
}

// doAll makes changes, which may not fail.
func doAll(t *testing.T, c *Client, op ChangeOp, changes []Change) {
	t.Helper()
	list := make([]Change, len(changes))
	for i := range changes {
		list[i] = Change{Op: op, Service: changes[i].Service}
	}
	if made, failed, err := c.execute(background, list); len(made) != len(changes) {
		t.Errorf("%v: %d of %d done: %v, %v", op, len(made), len(changes), failed.err(), err)
	}
}

// isPassing tells the services that come and go.
func isPassing(id ServiceID) bool { return id.Addr.Addr().As4()[0] == 20 }

// countUntouched is how often each untouched service is in a list, at its
// least and at its most.
func countUntouched(list []ServiceStatus, n int) (least, most int) {
	seen := map[ServiceID]int{}
	for _, s := range list {
		if !isPassing(s.ID) {
			seen[s.ID]++
		}
	}
	for _, times := range seen {
		most = max(most, times)
	}
	if len(seen) == n {
		least = 1
	}
	return least, most
}

// TestDumpOfAChangingTable changes ten services between the pieces of each
// dump, so that the kernel's index is off: the plain dump loses services that
// nobody touched, or has them twice; listServices must not.
func TestDumpOfAChangingTable(t *testing.T) {
	c, ns := kernel(t)
	other := newClient(t, ns)
	const n = 1000
	_, err := c.Apply(background, untouched(n), Policy{})
	must(t, err)

	for name, test := range map[string]struct{ before, during ChangeOp }{
		"services go":   {AddService, RemoveService},
		"services come": {RemoveService, AddService},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before == AddService {
				doAll(t, other, AddService, passing())
			}
			var list []ServiceStatus
			messages := 0
			must(t, c.exchange(background, func(conn *conn) error {
				_, err := conn.dump(background, cmdGetService, conn.begin(cmdGetService, flagDump), func(b []byte) error {
					list = append(list, ServiceStatus{})
					if messages++; messages == n/2 {
						doAll(t, other, test.during, passing())
					}
					return decodeService(b, &list[len(list)-1], withoutStats)
				})
				return err
			}))
			least, most := countUntouched(list, n)
			if least == 1 && most == 1 {
				t.Error("the plain dump is right: this test shows nothing")
			}
			if test.during == AddService {
				doAll(t, other, RemoveService, passing())
			}
		})
	}

	stop := churn(t, other)
	defer stop()
	for range 15 {
		list, err := c.listServices(background, withoutStats)
		must(t, err)
		if least, most := countUntouched(list, n); least != 1 || most != 1 {
			t.Errorf("an untouched service was read %d to %d times", least, most)
		}
	}
}

// churn adds and removes services, as fast as it can, until it is stopped.
func churn(t *testing.T, c *Client) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, op := range []ChangeOp{AddService, RemoveService} {
				doAll(t, c, op, passing())
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// TestApplyToAChangingTable applies what is there already while other services
// come and go: there is nothing to change, and nothing may be.
func TestApplyToAChangingTable(t *testing.T) {
	c, ns := kernel(t)
	want := untouched(500)
	for i := range want[:100] {
		want[i].Destinations = []Destination{viaRoute("10.0.0.1:80", 1)}
	}
	mine := func(id ServiceID) bool { return !isPassing(id) }
	_, err := c.Apply(background, want, Policy{Owns: mine})
	must(t, err)
	defer churn(t, newClient(t, ns))()
	for range 8 {
		made, err := c.Apply(background, want, Policy{Owns: mine})
		if err != nil || len(made) != 0 {
			t.Fatalf("changed %v, %v", made, err)
		}
	}
}

// TestApplyAgainstAnother lets two clients apply different tables at once: each
// finds things added and removed below its hands, and neither may fail.
func TestApplyAgainstAnother(t *testing.T) {
	c, ns := kernel(t)
	other := newClient(t, ns)
	odd, even := untouched(60), untouched(60)
	for i := range odd {
		odd[i].Destinations = []Destination{viaRoute("10.0.0.1:80", 1), viaRoute("10.0.0.2:80", 1)}
		even[i].Destinations = []Destination{viaRoute("10.0.0.2:80", 2), viaRoute("10.0.0.3:80", 1)}
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	apply := func(c *Client, want []Service) {
		for range 15 {
			// A race that was lost five times in a row is an error that says so.
			if _, err := c.Apply(ctx, want, Policy{Owns: OwnAll}); err != nil &&
				!errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}
	go func() { defer close(ended); apply(other, even) }()
	apply(c, odd)
	<-ended
	_, err := c.Apply(background, odd, Policy{Owns: OwnAll})
	must(t, err)
	equalTables(t, "Services", services(t, c), odd)
}

// TestManyDestinations has more destinations than fit one piece of a dump.
func TestManyDestinations(t *testing.T) {
	c, _ := kernel(t)
	s := Service{ID: tcpID("192.0.2.1:80"), Scheduler: MH}
	for i := range 700 {
		s.Destinations = append(s.Destinations, viaRoute(netip.AddrPortFrom(benchAddr(10, i, 80).Addr(), 80).String(), 1))
	}
	must(t, c.AddService(background, s))
	equalTables(t, "Services", services(t, c), []Service{s})
	made, err := c.Apply(background, []Service{s}, Policy{Owns: OwnAll})
	if err != nil || len(made) != 0 {
		t.Errorf("Apply: %d changes, %v", len(made), err)
	}
}

func TestDestinationsOfAMissingService(t *testing.T) {
	c, _ := kernel(t)
	list, err := c.listDests(background, tcpID("192.0.2.1:80"), withStats, nil)
	if err != nil || len(list) != 0 {
		t.Fatalf("the kernel dumps %v, %v: this test shows nothing", list, err)
	}
	_, err = c.Service(background, tcpID("192.0.2.1:80"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "read service TCP 192.0.2.1:80: there is no such service") {
		t.Errorf("Service: %v", err)
	}
}

func TestErrorsOfTheKernel(t *testing.T) {
	c, _ := kernel(t)
	there, missing := tcpID("192.0.2.1:80"), tcpID("192.0.2.2:80")
	d := viaRoute("10.0.0.1:80", 1)
	must(t, c.AddService(background, Service{ID: there, Scheduler: RR, Destinations: []Destination{d}}))
	gone := viaRoute("10.0.0.9:80", 1)
	for text, test := range map[string]struct {
		err  error
		kind error
	}{
		"add service TCP 192.0.2.1:80: there is such a service already (EEXIST)": {
			c.AddService(background, Service{ID: there}), fs.ErrExist,
		},
		"add destination TCP 192.0.2.1:80 -> 10.0.0.1:80: the service has that destination already (EEXIST)": {
			c.AddDestination(background, there, d), fs.ErrExist,
		},
		"update destination TCP 192.0.2.1:80 -> 10.0.0.9:80: the service has no such destination (ENOENT)": {
			c.UpdateDestination(background, there, gone), fs.ErrNotExist,
		},
		"remove destination TCP 192.0.2.1:80 -> 10.0.0.9:80: the service has no such destination (ENOENT)": {
			c.RemoveDestination(background, there, gone.Addr), fs.ErrNotExist,
		},
		"add destination TCP 192.0.2.2:80 -> 10.0.0.1:80: there is no such service (ESRCH)": {
			c.AddDestination(background, missing, d), fs.ErrNotExist,
		},
		"update service TCP 192.0.2.2:80: there is no such service (ESRCH)": {
			c.UpdateService(background, Service{ID: missing}), fs.ErrNotExist,
		},
		"remove service TCP 192.0.2.2:80: there is no such service (ESRCH)": {
			c.RemoveService(background, missing), fs.ErrNotExist,
		},
		"zero TCP 192.0.2.2:80: there is no such service (ESRCH)": {c.Zero(background, missing), fs.ErrNotExist},
		"add service TCP 192.0.2.2:80: the kernel has no scheduler \"nosuch\": modprobe ip_vs_nosuch, or use another (ENOENT)": {
			c.AddService(background, Service{ID: missing, Scheduler: "nosuch"}), ErrNoScheduler,
		},
		"update service TCP 192.0.2.1:80: the kernel has no scheduler \"nosuch\": modprobe ip_vs_nosuch, or use another (ENOENT)": {
			c.UpdateService(background, Service{ID: there, Scheduler: "nosuch"}), ErrNoScheduler,
		},
		"add service UDP 192.0.2.2:80: the kernel has no persistence engine \"nosuch\": modprobe ip_vs_pe_nosuch, or use none (ENOENT)": {
			c.change(background, Change{Op: AddService, Service: Service{
				ID: ServiceID{Protocol: UDP, Addr: missing.Addr}, Scheduler: RR,
				Persistence: Persistence{Timeout: time.Minute, Engine: "nosuch"},
			}}), ErrNoEngine,
		},
		"stop sync daemon master: no such sync daemon runs (ESRCH)": {
			c.StopDaemon(background, DaemonMaster), fs.ErrNotExist,
		},
	} {
		var op *OpError
		if !errors.Is(test.err, test.kind) || !errors.As(test.err, &op) || test.err.Error() != "ipvs: "+text {
			t.Errorf("got  %v\nwant ipvs: %s", test.err, text)
		}
		if errors.Is(test.err, fs.ErrNotExist) && test.kind != fs.ErrNotExist {
			t.Errorf("%v matches fs.ErrNotExist", test.err)
		}
	}
	if list := services(t, c); len(list) != 1 {
		t.Errorf("failed operations left %v", list)
	}
}

// TestLoNeverUp shows that a service is added whole or not at all: in a
// namespace whose lo was never up the kernel takes no destination.
func TestLoNeverUp(t *testing.T) {
	need.Root(t)
	need.IPVS(t)
	ns, err := netns.New()
	must(t, err)
	defer ns.Close()
	c := newClient(t, fmt.Sprintf("/proc/self/fd/%d", ns.Fd()))
	err = c.AddService(background, Service{ID: tcpID("192.0.2.1:80"), Destinations: []Destination{viaRoute("10.0.0.1:80", 1)}})
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "lo of the network namespace may never have been up") {
		t.Errorf("%v", err)
	}
	if list := services(t, c); len(list) != 0 {
		t.Errorf("left %v", list)
	}
	// Apply reports one error for each, and what it could do.
	want := []Service{{ID: tcpID("192.0.2.1:80"), Destinations: []Destination{viaRoute("10.0.0.1:80", 1), viaRoute("10.0.0.2:80", 1)}}}
	made, err := c.Apply(background, want, Policy{})
	if len(made) != 1 || made[0].Op != AddService || strings.Count(err.Error(), "add destination") != 2 || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Apply: %v, %v", made, err)
	}
}

// TestApplyOfAMissingScheduler reports the service once, without those of its
// destinations that had nowhere to go, and does the rest.
func TestApplyOfAMissingScheduler(t *testing.T) {
	c, _ := kernel(t)
	good := Service{ID: tcpID("192.0.2.2:80"), Scheduler: RR, Destinations: []Destination{viaRoute("10.0.0.1:80", 1)}}
	bad := Service{ID: tcpID("192.0.2.1:80"), Scheduler: "nosuch", Destinations: good.Destinations}
	made, err := c.Apply(background, []Service{bad, good}, Policy{})
	if !errors.Is(err, ErrNoScheduler) || strings.Count(err.Error(), "ipvs:") != 1 || len(made) != 2 {
		t.Errorf("%v, %v", made, err)
	}
	equalTables(t, "Services", services(t, c), []Service{good})
}

// TestUserNamespace runs itself in a user namespace of its own, where root may
// not use IPVS.
func TestUserNamespace(t *testing.T) {
	if os.Getenv("LVSKIT_IN_USERNS") != "" {
		c, err := Open(Config{})
		if err == nil {
			defer c.Close()
			_, err = c.Info(background)
		}
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN in the initial user namespace") {
			t.Errorf("%v", err)
		}
		return
	}
	need.Root(t)
	need.IPVS(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUserNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), "LVSKIT_IN_USERNS=1")
	ids := []syscall.SysProcIDMap{{Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, UidMappings: ids, GidMappings: ids}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestNoModule is for machines without ip_vs.
func TestNoModule(t *testing.T) {
	need.NoIPVS(t)
	_, err := Open(Config{})
	if !errors.Is(err, ErrNoModule) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("%v", err)
	}
}

// TestUpdateKeepsTheEngine changes the scheduler of what was read. The kernel
// drops an engine that an update leaves out, as moby/ipvs shows, which does not
// read it.
func TestUpdateKeepsTheEngine(t *testing.T) {
	c, ns := kernel(t)
	id := ServiceID{Protocol: UDP, Addr: addrPort("192.0.2.1:5060")}
	must(t, c.AddService(background, Service{ID: id, Scheduler: RR, Persistence: Persistence{Timeout: time.Minute, Engine: "sip"}}))
	s, err := c.Service(background, id)
	must(t, err)
	s.Scheduler = WRR
	must(t, c.UpdateService(background, s.Service))
	after, err := c.Service(background, id)
	must(t, err)
	if after.Persistence.Engine != "sip" || after.Scheduler != WRR {
		t.Errorf("after the update: %+v", after)
	}
	h := newMoby(t, ns)
	defer h.Close()
	m, err := h.GetService(mobyService(s.Service))
	must(t, err)
	must(t, h.UpdateService(m))
	if after, err = c.Service(background, id); err != nil || after.Persistence.Engine != "" {
		t.Errorf("moby kept the engine (%+v, %v): this test shows nothing", after, err)
	}
}
