package tabletest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"

	"github.com/lvskit/lvskit/ipvs"
)

var everything = ipvs.Policy{Owns: ipvs.OwnAll}

// apply wants Apply to make as many changes as Plan says, and none afterwards.
func (f *fixture) apply(policy ipvs.Policy, want ...ipvs.Service) []ipvs.Change {
	f.Helper()
	plan, err := f.Plan(f.ctx, want, policy)
	f.must(err)
	made, err := f.Apply(f.ctx, want, policy)
	f.must(err)
	if len(plan)+len(made) > 0 && !reflect.DeepEqual(plan, made) {
		f.Errorf("planned %v, made %v", plan, made)
	}
	if again, err := f.Apply(f.ctx, want, policy); err != nil || len(again) != 0 {
		f.Errorf("the second Apply made %v, %v", again, err)
	}
	return made
}

// changes wants these changes, as they print.
func (f *fixture) changes(got []ipvs.Change, want ...string) {
	f.Helper()
	lines := make([]string, len(got))
	for i, c := range got {
		lines[i] = c.String()
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(lines, want) {
		f.Errorf("changes\n     %q\nwant %q", lines, want)
	}
}

var applyTests = []test{
	{"a plan changes nothing", func(f *fixture) {
		plan, err := f.Plan(f.ctx, []ipvs.Service{web()}, everything)
		f.must(err)
		f.changes(plan,
			"ipvsadm -A -t 192.0.2.1:80 -s rr",
			"ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1",
			"ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 2")
		f.has()
	}},
	{"Apply makes the table what is wanted", func(f *fixture) {
		f.apply(everything, web(), web6(), dns())
		f.has(web(), web6(), dns())
		f.changes(f.apply(everything, web(), dns()), "ipvsadm -D -t [2001:db8::1]:80")
		f.has(web(), dns())
		s := web()
		s.Scheduler = ipvs.WLC
		s.Destinations = []ipvs.Destination{masq("10.0.0.2:8080", 0), masq("10.0.0.3:8080", 1)}
		f.changes(f.apply(everything, dns(), s),
			"ipvsadm -E -t 192.0.2.1:80 -s wlc",
			"ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.3:8080 -m -w 1",
			"ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0",
			"ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:8080")
		f.has(dns(), s)
		f.apply(everything)
		f.has()
	}},
	{"the order of what is wanted does not matter", func(f *fixture) {
		f.apply(everything, web(), web6())
		turned := web()
		turned.Destinations[0], turned.Destinations[1] = turned.Destinations[1], turned.Destinations[0]
		f.changes(f.apply(everything, web6(), turned))
		f.has(web(), web6())
	}},
	{"what is not owned stays", func(f *fixture) {
		f.apply(everything, web(), web6())
		f.changes(f.apply(ipvs.Policy{}, dns()), "ipvsadm -A -u 192.0.2.1:53 -s sh", "ipvsadm -a -u 192.0.2.1:53 -r 10.0.0.1:53 -m -w 1")
		f.has(web(), web6(), dns())
		owns := func(id ipvs.ServiceID) bool { return id.AddressFamily() == ipvs.IPv6 }
		f.changes(f.apply(ipvs.Policy{Owns: owns}), "ipvsadm -D -t [2001:db8::1]:80")
		f.has(web(), dns())
	}},
	{"who decides what is owned may read the table", func(f *fixture) {
		f.apply(everything, web(), web6())
		f.apply(ipvs.Policy{Owns: func(id ipvs.ServiceID) bool {
			s, err := f.Service(f.ctx, id)
			return err == nil && s.Scheduler == ipvs.RR
		}})
		f.has(web6())
	}},
	{"weights are kept where they are to be", func(f *fixture) {
		f.apply(everything, web())
		quiet := web().Destinations[0]
		quiet.Weight = 0
		f.must(f.UpdateDestination(f.ctx, web().ID, quiet))
		f.changes(f.apply(ipvs.Policy{KeepWeights: true}, web()))
		s := web()
		s.Destinations[0] = quiet
		f.has(s)
		f.apply(ipvs.Policy{}, web())
		f.has(web())
	}},
	{"a wanted state that is invalid changes nothing", func(f *fixture) {
		f.apply(everything, web6())
		twice := web()
		twice.Destinations = append(twice.Destinations, twice.Destinations[0])
		bad := web()
		bad.Destinations[0].Weight = -1
		for object, want := range map[string][]ipvs.Service{
			"TCP 192.0.2.1:80":                   {web(), dns(), web()},
			"TCP 192.0.2.1:80 -> 10.0.0.1:8080":  {dns(), twice},
			"TCP 192.0.2.1:80 -> 10.0.0.1:8080 ": {dns(), bad},
			"TCP 192.0.2.9:80":                   {dns(), badServices["OnePacket of TCP"]},
		} {
			if object[len(object)-1] == ' ' {
				object = object[:len(object)-1]
			}
			made, err := f.Apply(f.ctx, want, everything)
			f.refused(err, fs.ErrInvalid, "plan", object)
			f.changes(made)
			_, err = f.Plan(f.ctx, want, everything)
			f.refused(err, fs.ErrInvalid, "plan", object)
		}
		f.has(web6())
	}},
	{"what is refused does not keep the rest from being done", func(f *fixture) {
		f.add(dns())
		odd := web()
		odd.ID, odd.Scheduler = tcp("192.0.2.9:80"), "no-such"
		same := dns()
		same.Scheduler, same.Destinations = "no-such", append(same.Destinations, masq("10.0.0.2:53", 1))
		made, err := f.Apply(f.ctx, []ipvs.Service{odd, same, web()}, everything)
		if !errors.Is(err, ipvs.ErrNoScheduler) {
			f.Errorf("%v", err)
		}
		if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 2 {
			f.Errorf("want an error for each change that was refused: %v", err)
		} else {
			f.refused(joined.Unwrap()[0], ipvs.ErrNoScheduler, "add service", "TCP 192.0.2.9:80")
			f.refused(joined.Unwrap()[1], ipvs.ErrNoScheduler, "update service", "UDP 192.0.2.1:53")
		}
		f.changes(made,
			"ipvsadm -a -u 192.0.2.1:53 -r 10.0.0.2:53 -m -w 1",
			"ipvsadm -A -t 192.0.2.1:80 -s rr",
			"ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1",
			"ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 2")
		same.Scheduler = ipvs.SH
		f.has(same, web())
	}},
	{"a service of mh ends as one", func(f *fixture) {
		s := web()
		s.Scheduler = ipvs.MH
		f.apply(everything, s)
		f.has(s)
		f.apply(everything, web())
		f.apply(everything, s)
		f.has(s)
	}},
	{"any table is reached from any other", func(f *fixture) { f.wander(false) }},
}

var kernelApplyTests = []test{
	{"any table of any kind is reached from any other", func(f *fixture) { f.wander(true) }},
}

// wander goes from one random table to the next. A table of any kind has what
// only the kernel forwards.
func (f *fixture) wander(anyKind bool) {
	for seed := range uint64(30) {
		want := Random{Rand: rand.New(rand.NewPCG(seed, 5)), AnyKind: anyKind}.Table(8)
		if _, err := f.Apply(f.ctx, want, everything); err != nil {
			f.Fatalf("seed %d: %v", seed, err)
		}
		f.apply(everything, want...)
		if err := f.equal(want); err != nil {
			f.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// equal compares the table with a wanted one, whatever the order.
func (f *fixture) equal(want []ipvs.Service) error {
	list, err := f.Services(f.ctx)
	if err != nil {
		return err
	}
	if got, want := Sorted(Wanted(list)), Sorted(want); !reflect.DeepEqual(got, want) {
		return fmt.Errorf("read\n     %+v\nwant %+v", got, want)
	}
	return nil
}
