package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// director is the composition: the packages, one cluster. The method serve owns
// what changes while it runs.
type director struct {
	options
	out      io.Writer
	settings *sysctl.Client
	table    dataplane
	manager  *vip.Manager
	monitor  *health.Monitor
	pinger   *health.Pinger
	router   *vrrp.Router // nil without VRRP

	opened    bool          // no other director is here
	changed   chan struct{} // a check has another result
	drained   chan drainKey // a real server has no connections any more
	settled   chan struct{} // closed when the real servers are known
	config    config
	pools     []*pool
	draining  map[drainKey]*drain
	marks     marks
	addresses *vip.Set // of the router
	held      []vip.Address
}

func newDirector(ctx context.Context, o options, cfg config, out io.Writer) (d *director, err error) {
	d = &director{
		options: o, out: out,
		changed: make(chan struct{}, 1), drained: make(chan drainKey), settled: make(chan struct{}),
		draining: map[drainKey]*drain{}, marks: marks{},
	}
	if d.settings, err = sysctl.New(sysctl.Config{Record: filepath.Join(o.runDir, "director.sysctl")}); err != nil {
		return nil, err
	}
	// Only addresses that are held always can go to a successor without a gap.
	keep, handover := cfg.router == nil && !o.plan, ""
	if keep {
		handover = filepath.Join(o.runDir, "director.handover")
	}
	if d.manager, err = vip.New(vip.Config{RunDir: o.runDir, Keep: keep}); err != nil {
		return nil, err
	}
	if d.monitor, err = health.New(health.Config{OnChange: d.checked}); err != nil {
		return nil, err
	}
	if d.pinger, err = health.NewPinger(health.PingerConfig{}); err != nil {
		return nil, err
	}
	// It loads ip_vs, and with it come the settings of net/ipv4/vs.
	d.table, err = openDataplane(ctx, o, cfg, handover, out)
	return d, err
}

// run is the director's life, until ctx ends.
func (d *director) run(ctx context.Context, cfg config, hup <-chan os.Signal) (err error) {
	if _, err := d.open(); err != nil { // only one director comes beyond this, or its successor
		return err
	}
	defer d.manager.Close()
	defer d.pinger.Close()
	stop := func() error { return nil }
	defer func() { err = errors.Join(err, d.down(), stop()) }()
	if err := d.up(ctx, cfg); err != nil {
		return err
	}

	// Each of these runs until ctx ends; the first that ends before ends all.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop = d.forward(ctx, cancel)
	var running sync.WaitGroup
	var errs [4]error
	for i, part := range []func(context.Context) error{
		d.monitor.Run,
		func(ctx context.Context) error { return d.serve(ctx, hup) },
		d.hold,
		d.expose,
	} {
		running.Go(func() {
			defer cancel()
			errs[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs[:]...)
}

// forward forwards connections until stop is called, which the end of ctx is not:
// the addresses go first.
func (d *director) forward(ctx context.Context, ended func()) (stop func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	result := make(chan error, 1)
	go func() {
		defer ended()
		result <- d.table.run(ctx)
	}()
	return func() error {
		cancel()
		return <-result
	}
}

// open makes this the only director here, unless it is false: its predecessor still
// has connections to end.
func (d *director) open() (only bool, err error) {
	if d.opened {
		return true, nil
	}
	err = d.manager.Open()
	if errors.Is(err, vip.ErrInUse) && d.table.inherited() {
		return false, nil
	}
	d.opened = err == nil
	return d.opened, err
}

// plan prints what would be done, as a person would type it, if all real servers
// lived.
func (d *director) plan(ctx context.Context, cfg config) error {
	settings, err := d.settings.Plan(ctx, cfg.kernel)
	if err != nil {
		return err
	}
	var services []ipvs.Service
	for _, s := range cfg.services {
		services = append(services, s.Service)
	}
	d.marks.keep(cfg.throughVIP())
	services = append(services, d.ways(cfg)...)
	rules, err := d.table.Plan(ctx, services, d.table.policy())
	if err != nil {
		return err
	}
	held, err := d.manager.Read(ctx)
	if err != nil {
		return err
	}
	addresses, err := vip.Plan(held, vip.State{Addresses: cfg.addresses})
	if err != nil {
		return err
	}
	show(d.out, settings)
	show(d.out, rules)
	show(d.out, addresses)
	return nil
}

// up makes the kernel's settings, and the services with what is known of their
// real servers. The addresses come later, so that no request comes before there
// is a server to take it.
func (d *director) up(ctx context.Context, cfg config) error {
	if err := d.prepare(ctx, cfg); err != nil {
		return err
	}
	if err := d.configure(ctx, cfg); err != nil {
		return err
	}
	_, err := d.apply(ctx)
	return err
}

// down takes back all there is, the other way round. It goes on after an error.
func (d *director) down() error {
	ctx := context.Background() // the signal has ended the other
	for _, key := range slices.Collect(maps.Keys(d.draining)) {
		d.endDrain(key)
	}
	if d.table.succeeded() {
		return nil // all of it is another director's
	}
	errTold := d.table.hangUp(ctx)
	errAddress := d.release(ctx)
	errSync := d.table.synchronise(ctx, nil)
	_, errTable := d.table.Apply(ctx, nil, d.table.policy())
	if errTable == nil {
		errTable = d.table.ownOnly(nil)
	}
	changes, errRecord := d.settings.Recorded(ctx) // those of a killed run, too
	_, _, errSettings := d.settings.Restore(ctx, changes)
	return errors.Join(errTold, errAddress, errSync, errTable, errRecord, errSettings)
}

// release gives the addresses back, also those that a predecessor leaves to us.
func (d *director) release(ctx context.Context) error {
	for {
		only, err := d.open()
		if err != nil {
			return err
		}
		if only {
			return d.manager.Release(ctx)
		}
		time.Sleep(waiting)
	}
}

func show[C fmt.Stringer](out io.Writer, changes []C) {
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
}
