package userspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/tabletest"
	"github.com/lvskit/lvskit/ipvs"
)

// subject is the part of ipvs.Table whose answers are compared.
type subject interface {
	Services(context.Context) ([]ipvs.ServiceStatus, error)
	Service(context.Context, ipvs.ServiceID) (ipvs.ServiceStatus, error)
	Plan(context.Context, []ipvs.Service, ipvs.Policy) ([]ipvs.Change, error)
	Apply(context.Context, []ipvs.Service, ipvs.Policy) ([]ipvs.Change, error)
	AddService(context.Context, ipvs.Service) error
	UpdateService(context.Context, ipvs.Service) error
	RemoveService(context.Context, ipvs.ServiceID) error
	AddDestination(context.Context, ipvs.ServiceID, ipvs.Destination) error
	UpdateDestination(context.Context, ipvs.ServiceID, ipvs.Destination) error
	RemoveDestination(context.Context, ipvs.ServiceID, netip.AddrPort) error
	Zero(context.Context, ipvs.ServiceID) error
	ZeroAll(context.Context) error
	Flush(context.Context) error
	Timeouts(context.Context) (ipvs.Timeouts, error)
	SetTimeouts(context.Context, ipvs.Timeouts) error
}

// compareEvery is the number of operations between two comparisons of the whole
// tables.
const compareEvery = 25

// difference asks two tables the same random sequence of operations, valid ones
// and others, and wants the same answers and the same tables. With LVSKIT_SEED it
// is the sequence of that number, which a failure prints.
func difference(t *testing.T, one, other subject, operations int) {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LVSKIT_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("LVSKIT_SEED=%d, %d operations", seed, operations)
	q := &questions{Random: tabletest.Random{Rand: rand.New(rand.NewPCG(seed, 1)), AnyKind: true}}
	kinds := map[string]int{}
	for n := range operations {
		ask := q.next()
		a, b := ask.of(one), ask.of(other)
		if a != b {
			t.Fatalf("operation %d of seed %d, %s:\n%s\nand\n%s", n, seed, ask.text, a, b)
		}
		kinds[strings.Fields(ask.text)[0]+" "+a.kind()]++
		if n%compareEvery == 0 || n == operations-1 {
			a, b := wholeTable(t, one), wholeTable(t, other)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("after operation %d of seed %d, %s, the tables are\n%+v\nand\n%+v", n, seed, ask.text, a, b)
			}
		}
	}
	t.Log(kinds)
}

// wholeTable is a table without what depends on its order.
func wholeTable(t *testing.T, s subject) map[ipvs.ServiceID]ipvs.ServiceStatus {
	t.Helper()
	list, err := s.Services(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[ipvs.ServiceID]ipvs.ServiceStatus, len(list))
	for _, st := range list {
		if len(st.Destinations) == 0 {
			st.Destinations = nil
		}
		table[st.ID] = st
	}
	if len(table) != len(list) {
		t.Fatalf("a service is there twice: %+v", list)
	}
	return table
}

// question is one operation.
type question struct {
	text string
	ask  func(context.Context, subject) (answer any, err error)
}

func (q question) of(s subject) returned {
	v, err := q.ask(context.Background(), s)
	if changes, ok := v.([]ipvs.Change); ok {
		lines := make([]string, len(changes))
		for i, c := range changes {
			lines[i] = c.String()
		}
		slices.Sort(lines) // removals come in the order of the table
		v = strings.Join(lines, "\n")
	}
	return returned(fmt.Sprintf("%+v\n%s", v, classes(err)))
}

// returned is what an operation returned, in text: a value and a line for each
// error.
type returned string

// kind is the answer in a word.
func (a returned) kind() string {
	for _, sentinel := range sentinels {
		if strings.Contains(string(a), sentinel.name) {
			return sentinel.name
		}
	}
	return "done"
}

var sentinels = []struct {
	name string
	err  error
}{
	{"not-exist", fs.ErrNotExist},
	{"exists", fs.ErrExist},
	{"invalid", fs.ErrInvalid},
	{"no-scheduler", ipvs.ErrNoScheduler},
	{"no-engine", ipvs.ErrNoEngine},
	{"unsupported", errors.ErrUnsupported},
	{"permission", fs.ErrPermission},
}

// classes are the errors by what they match, a line each.
func classes(err error) string {
	if err == nil {
		return ""
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, err := range joined.Unwrap() {
			lines = append(lines, classes(err))
		}
		return strings.Join(lines, "\n")
	}
	line := "other"
	if e, ok := errors.AsType[*ipvs.OpError](err); ok {
		line = e.Op + "|" + e.Object
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			line += "|" + s.name
		}
	}
	return line
}
