package ipvs

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// rounds is how many random tables each test takes to the kernel.
const rounds = 40

// TestIpvsadmSavesWhatParseReads makes one random table after the other, saves
// each by ipvsadm, and reads that.
func TestIpvsadmSavesWhatParseReads(t *testing.T) {
	c, path := kernel(t)
	for seed := range uint64(rounds) {
		want := randomTable(rand.New(rand.NewPCG(seed, 10)), 6)
		if _, err := c.Apply(context.Background(), want, Policy{Owns: OwnAll}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got := sorted(services(t, c)); !reflect.DeepEqual(got, sorted(want)) {
			t.Fatalf("seed %d: the kernel has\n%+v\nwant\n%+v", seed, got, sorted(want))
		}
		saved := ipvsadm(t, path, "-S", "-n")
		got, err := Parse(strings.NewReader(saved))
		if err != nil {
			t.Fatalf("seed %d: %v in\n%s", seed, err, saved)
		}
		losses(want)
		if !reflect.DeepEqual(sorted(got), sorted(want)) {
			t.Fatalf("seed %d: read\n%+v\nwant\n%+v\nfrom\n%s", seed, sorted(got), sorted(want), saved)
		}
		written := format(t, want)
		if slices.ContainsFunc(want, func(s Service) bool { return s.ID.FWMark > math.MaxInt32 }) {
			continue // ipvsadm writes those as negative numbers
		}
		if !slices.Equal(sortedLines(written), sortedLines(saved)) {
			t.Fatalf("seed %d: Format writes\n%sipvsadm\n%s", seed, written, saved)
		}
	}
}

// losses takes from services what `ipvsadm -S` loses: thresholds, and flag 3 of
// sh and mh.
func losses(services []Service) {
	for i := range services {
		s := &services[i]
		if s.Scheduler == SH || s.Scheduler == MH {
			s.Flags &^= SchedFlag3
		}
		for j := range s.Destinations {
			s.Destinations[j].Upper, s.Destinations[j].Lower = 0, 0
		}
	}
}

// sortedLines leaves out the option -b where ipvsadm gives it no value.
func sortedLines(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.TrimSuffix(strings.TrimRight(line, " \n"), " -b"))
	}
	slices.Sort(lines)
	return lines
}

// ipvsadmTable is a random table that ipvsadm can read.
func ipvsadmTable(r *rand.Rand) []Service {
	services := randomTable(r, 6)
	for i := range services {
		for j := range services[i].Destinations {
			d := &services[i].Destinations[j]
			d.Weight = min(d.Weight, 65535)
		}
	}
	return services
}

// restore feeds rules to `ipvsadm -R`.
func restore(t *testing.T, path, rules string) {
	t.Helper()
	need.Program(t, "ipvsadm")
	err := netns.Do(path, func() error {
		cmd := exec.Command("ipvsadm", "-R")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		if err == nil && len(out) > 0 {
			err = errors.New("it complains")
		}
		if err != nil {
			t.Logf("ipvsadm -R: %s", out)
		}
		return err
	})
	if err != nil {
		t.Fatalf("ipvsadm -R: %v, of\n%s", err, rules)
	}
}

// TestIpvsadmReadsWhatFormatWrites restores random tables by ipvsadm.
func TestIpvsadmReadsWhatFormatWrites(t *testing.T) {
	c, path := kernel(t)
	for seed := range uint64(rounds) {
		want := ipvsadmTable(rand.New(rand.NewPCG(seed, 11)))
		must(t, c.Flush(context.Background()))
		rules := format(t, want)
		restore(t, path, rules)
		if got := sorted(services(t, c)); !reflect.DeepEqual(got, sorted(want)) {
			t.Fatalf("seed %d: the kernel has\n%+v\nwant\n%+v\nby\n%s", seed, got, sorted(want), rules)
		}
	}
}

// TestChangesAreCommandsOfIpvsadm lets ipvsadm execute printed plans.
func TestChangesAreCommandsOfIpvsadm(t *testing.T) {
	c, path := kernel(t)
	for seed := range uint64(rounds) {
		want := ipvsadmTable(rand.New(rand.NewPCG(seed, 12)))
		have := services(t, c)
		changes, err := Plan(have, want, Policy{Owns: OwnAll})
		must(t, err)
		restore(t, path, lines(changes))
		if got := sorted(services(t, c)); !reflect.DeepEqual(got, sorted(want)) {
			t.Fatalf("seed %d: the kernel has\n%+v\nwant\n%+v\nby\n%s", seed, got, sorted(want), lines(changes))
		}
	}
	// One as it is typed.
	change := Change{Op: AddService, Service: Service{ID: ServiceID{FWMark: 4711}, Scheduler: SH, Flags: SHPort}}
	err := netns.Do(path, func() error { return exec.Command("sh", "-c", change.String()).Run() })
	must(t, err)
	if _, err := c.Service(context.Background(), change.Service.ID); err != nil {
		t.Error(err)
	}
}

// TestTheKernelTakesWhatValidateDoes adds each of the valid services.
func TestTheKernelTakesWhatValidateDoes(t *testing.T) {
	c, _ := kernel(t)
	for name, edit := range validServices {
		s := validService(edit)
		if len(s.Scheduler) > 5 || len(s.Persistence.Engine) > 5 {
			continue // no kernel has this module
		}
		t.Run(name, func(t *testing.T) {
			must(t, c.Flush(context.Background()))
			if err := c.AddService(context.Background(), s); err != nil {
				t.Fatal(err)
			}
			if got := sorted(services(t, c)); !reflect.DeepEqual(got, sorted([]Service{s})) {
				t.Errorf("the kernel has %+v, want %+v", got, s)
			}
		})
	}
}

// TestDrainOnTheKernel drains a real server without connections.
func TestDrainOnTheKernel(t *testing.T) {
	c, _ := kernel(t)
	s := validService(func(*Service) {})
	must(t, c.AddService(context.Background(), s))
	got, err := Drain(context.Background(), c, s.ID, s.Destinations[0].Addr, DrainConfig{Interval: 1e7})
	if err != nil || got != (Drained{Removed: true}) {
		t.Fatalf("drained %+v, %v", got, err)
	}
	if left := services(t, c)[0].Destinations; len(left) != 1 || left[0] != s.Destinations[1] {
		t.Errorf("left are %+v", left)
	}
}
