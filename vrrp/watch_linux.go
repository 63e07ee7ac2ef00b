package vrrp

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	watchSpacing = 5 * time.Millisecond // between two looks at the kernel
	watchResync  = 30 * time.Second     // a look without a notice
	watchRetry   = time.Second          // after an error
)

// want is called by the loop.
func (k *kernel) want(wants []want) {
	k.mu.Lock()
	k.wants = slices.Clone(wants)
	k.mu.Unlock()
	select {
	case k.wanted <- struct{}{}:
	default:
	}
}

// watch looks at the links when the kernel tells of a change, opens and closes
// sockets, and tells the loop.
func (k *kernel) watch(ctx context.Context, tell func(func(*loop)) bool) {
	changed := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		k.notes.read(k.removed, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	defer wg.Wait()
	defer k.notes.close()
	timer := time.NewTimer(watchResync)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wanted:
		case <-changed:
		case <-timer.C:
		}
		if k.look(tell) {
			timer.Reset(watchResync)
		} else {
			timer.Reset(watchRetry)
		}
		select { // a storm of notices is one look
		case <-ctx.Done():
			return
		case <-time.After(watchSpacing):
		}
	}
}

// removed notes that an interface is no more: a socket on it has lost its groups,
// even if another interface gets its name and index.
func (k *kernel) removed(index int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[index] = true
}

// look reads the links that are wanted, and makes the sockets fit to them. It is
// false if something did not work, as it may when an interface goes just now.
func (k *kernel) look(tell func(func(*loop)) bool) bool {
	k.mu.Lock()
	wants, gone := k.wants, k.gone
	k.gone = map[int]bool{}
	k.mu.Unlock()
	all := gather(wants)
	links, fine := map[string]link{}, true
	for p := range all {
		if _, done := links[p.ifname]; done {
			continue
		}
		l, err := k.routes.link(p.ifname)
		links[p.ifname] = l
		fine = fine && err == nil
	}
	open, stale := map[port]*socket{}, []*socket(nil)
	for p, s := range k.open {
		if n, wanted := all[p]; wanted && links[p.ifname].index == s.index && !gone[s.index] && s.adapt(n) == nil {
			open[p] = s
		} else {
			stale = append(stale, s)
		}
	}
	err := k.do(func() error {
		for p, n := range all {
			l := links[p.ifname]
			if open[p] != nil || !l.exists {
				continue
			}
			s, err := openSocket(p, l.index, n)
			if err != nil {
				fine = false
				links[p.ifname] = link{} // as good as none
				continue
			}
			open[p] = s
		}
		return nil
	})
	k.open = open
	sockets := maps.Clone(open)
	tell(func(lo *loop) {
		k.rest = rest(wants)
		if !maps.Equal(k.sockets, sockets) {
			k.sockets = sockets
			k.poll()
		}
		lo.linksChanged(links)
	})
	for _, s := range stale {
		s.close()
	}
	return fine && err == nil
}

// rest is how long packets may wait: a small part of all intervals.
func rest(wants []want) time.Duration {
	d := restMost
	for _, w := range wants {
		d = min(d, w.pace/restPart)
	}
	return d
}

// gather joins what all Routers want of a port.
func gather(wants []want) map[port]needs {
	all := map[port]needs{}
	for _, w := range wants {
		n := all[w.port]
		n.vrids[w.vrid] = true
		n.frame = n.frame || w.frame
		if w.group.IsValid() && !slices.Contains(n.group, w.group) {
			n.group = append(n.group, w.group)
		}
		all[w.port] = n
	}
	return all
}
