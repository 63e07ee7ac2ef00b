package tabletest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/lvskit/lvskit/ipvs"
)

// Run tests the tables that open makes, each of them empty. They take all that
// the kernel takes.
func Run(t *testing.T, open func(t *testing.T) ipvs.Table) {
	run(t, open, slices.Concat(everywhere(), kernelOnly()))
}

// RunForwarding tests tables that only take what they can forward by connections
// of their own: TCP and UDP services by address and port, and ipvs.ForwardMasq. The
// services are of 192.0.2.0/24 and 2001:db8::/32.
func RunForwarding(t *testing.T, open func(t *testing.T) ipvs.Table) {
	run(t, open, everywhere())
}

// everywhere are the tests of what every table takes.
func everywhere() []test {
	return slices.Concat(serviceTests, destinationTests, applyTests, wholeTests)
}

// kernelOnly are those of what cannot be forwarded without the kernel.
func kernelOnly() []test {
	return slices.Concat(kernelServiceTests, kernelDestinationTests, kernelApplyTests)
}

type test struct {
	name string
	run  func(*fixture)
}

func run(t *testing.T, open func(t *testing.T) ipvs.Table, tests []test) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(&fixture{T: t, Table: open(t), ctx: t.Context()})
		})
	}
}

// fixture is the table of one test.
type fixture struct {
	*testing.T
	ipvs.Table
	ctx context.Context
}

// must ends the test if something that has to go well has not.
func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// add adds a service that the table has to take.
func (f *fixture) add(s ipvs.Service) {
	f.Helper()
	f.must(f.AddService(f.ctx, s))
}

// refused wants an OpError of a kind, in these words.
func (f *fixture) refused(err, kind error, op, object string) {
	f.Helper()
	refused(f.T, err, kind, op, object)
}

func refused(t *testing.T, err, kind error, op, object string) {
	t.Helper()
	e, ok := errors.AsType[*ipvs.OpError](err)
	switch {
	case !errors.Is(err, kind):
		t.Errorf("%s %s: got %v, want an error that matches %q", op, object, err, kind)
	case !ok:
		t.Errorf("%s %s: %v is no OpError", op, object, err)
	case e.Op != op || e.Object != object:
		t.Errorf("got the error of %q, %q, want that of %q, %q", e.Op, e.Object, op, object)
	}
}

// has wants the table to be these services, in any order, each with its
// destinations as they were added one after the other: the newest comes first.
func (f *fixture) has(want ...ipvs.Service) {
	f.Helper()
	list, err := f.Services(f.ctx)
	f.must(err)
	left := make(map[ipvs.ServiceID]ipvs.Service, len(want))
	for _, s := range want {
		n := s.Normal()
		slices.Reverse(n.Destinations)
		left[n.ID] = n
	}
	for _, got := range list {
		w, ok := left[got.ID]
		if !ok {
			f.Errorf("unexpected or twice: %v", got.ID)
			continue
		}
		delete(left, got.ID)
		f.same(got, w)
		one, err := f.Service(f.ctx, got.ID)
		f.must(err)
		f.same(one, w)
	}
	for id := range left {
		f.Errorf("missing: %v", id)
	}
}

// same compares a service as it was read, in a table that has no connections.
func (f *fixture) same(got ipvs.ServiceStatus, want ipvs.Service) {
	f.Helper()
	if got.Service.Destinations != nil {
		f.Errorf("%v: destinations in Service, where there is to be nil: %v", got.ID, got.Service.Destinations)
	}
	have := got.Service
	for _, d := range got.Destinations {
		have.Destinations = append(have.Destinations, d.Destination)
		if d.Active != 0 || d.Inactive != 0 || d.Persistent != 0 || d.Stats != (ipvs.Stats{}) {
			f.Errorf("%v: connections or statistics from nowhere: %+v", got.ID, d)
		}
	}
	if got.Stats != (ipvs.Stats{}) {
		f.Errorf("%v: statistics from nowhere: %+v", got.ID, got.Stats)
	}
	if len(want.Destinations) == 0 {
		want.Destinations = nil
	}
	if !reflect.DeepEqual(have, want) {
		f.Errorf("read\n     %+v\nwant %+v", have, want)
	}
}
