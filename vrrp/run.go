package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
)

// Run runs any number of Routers on one thread, with one socket for each
// interface and family, until ctx ends. All must be in one network namespace, and
// of all VRIDs on one interface and family there may be only one. The members of
// a sync group must be run together. A Router can be run again when Run has
// returned.
//
// It is an error if the process lacks CAP_NET_RAW in the network namespace
// (fs.ErrPermission), if the namespace does not exist (fs.ErrNotExist), or if a
// Router runs already (ErrRunning). It is none if an interface is missing or down:
// its Routers are in Fault until it is there.
//
// When ctx ends, Active routers resign with priority 0, all Binders that hold
// addresses release them, all events are delivered, and Run returns nil, or why a
// Binder could not release. It waits 10 s for callbacks that take no notice of
// their context.
func Run(ctx context.Context, routers ...*Router) error {
	var begun []*Router
	defer func() {
		for _, r := range begun {
			r.end()
		}
	}()
	for _, r := range routers {
		if err := r.begin(); err != nil {
			return err
		}
		begun = append(begun, r)
	}
	if err := together(routers); err != nil {
		return err
	}
	if err := claimGroups(routers); err != nil {
		return err
	}
	defer freeGroups(routers)
	netns, name := "", ""
	if len(routers) > 0 {
		cfg := routers[0].config()
		netns, name = cfg.NetNS, cfg.Name
	}
	e, err := openEdge(netns)
	if err != nil {
		return opError("run", name, err)
	}
	err = runOn(ctx, e, routers)
	return errors.Join(err, opError("run", name, e.close()))
}

// together checks that the Routers can be run by one loop.
func together(routers []*Router) error {
	type place struct {
		ifname string
		vrid   uint8
		six    bool
	}
	taken := map[place]string{}
	for _, r := range routers {
		c := r.config()
		if first := routers[0].config(); c.NetNS != first.NetNS {
			return opError("run", c.Name, invalid("it is in network namespace %q and %s in %q: run them apart", c.NetNS, first.Name, first.NetNS))
		}
		p := place{c.Interface, c.VRID, c.ipv6()}
		if other, ok := taken[p]; ok {
			return opError("run", c.Name, fmt.Errorf("%s has VRID %d on %s already: %w", other, c.VRID, c.Interface, fs.ErrExist))
		}
		taken[p] = c.Name
	}
	return nil
}

// runOn runs the loop on a system until ctx ends, and waits for all that it
// started.
func runOn(ctx context.Context, e system, routers []*Router) error {
	n := newNotifier()
	l := newLoop(e, n)
	for _, r := range routers {
		r.join(l)
	}
	var wg sync.WaitGroup
	watching, quit := context.WithCancel(context.Background())
	wg.Go(func() { e.watch(watching, l.post) })
	wg.Go(n.run)
	stop := context.AfterFunc(ctx, func() { l.box.post(l.stop) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		l.run()
	}()
	<-done
	stop()
	quit()
	n.close()
	if l.running == 0 {
		l.workers.Wait()
	} else {
		l.err = errors.Join(l.err, opError("run", "", fmt.Errorf("%d callbacks have not returned: %w", l.running, context.DeadlineExceeded)))
	}
	wg.Wait()
	return l.err
}

// claimGroups makes the Routers' sync groups theirs.
func claimGroups(routers []*Router) error {
	claimed := map[*Group]bool{}
	for _, r := range routers {
		c := r.config()
		if c.Group == nil || claimed[c.Group] {
			continue
		}
		if !c.Group.running.CompareAndSwap(false, true) {
			for g := range claimed {
				g.running.Store(false)
			}
			return opError("run", c.Name, fmt.Errorf("sync group %s: run its members together: %w", c.Group.name, ErrRunning))
		}
		claimed[c.Group] = true
		c.Group.reset()
	}
	return nil
}

func freeGroups(routers []*Router) {
	for _, r := range routers {
		if g := r.config().Group; g != nil {
			g.running.Store(false)
		}
	}
}
