package vip

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// The pace of putting back: see PutBack.
const (
	putBackFirst = time.Second
	putBackMost  = 30 * time.Second
	putBackCalm  = time.Minute
)

// pace limits how often things of one interface are put back.
type pace struct {
	times int
	last  time.Time
	next  time.Time
}

func (p *pace) put(now time.Time) {
	if p.times > 0 && now.Sub(p.last) > putBackCalm {
		p.times = 0
	}
	p.last = now
	p.next = now.Add(min(putBackFirst<<min(p.times, 10), putBackMost))
	p.times++
}

// watch finds out, from plan to plan, what was lost and what is due to be put
// back. It is pure: the time is an argument.
type watch struct {
	policy  LossPolicy
	missing map[string]Event
	paces   map[string]*pace
}

func newWatch(policy LossPolicy) *watch {
	return &watch{policy: policy, missing: map[string]Event{}, paces: map[string]*pace{}}
}

// step takes what the plan for what is held says and returns the changes that
// are due, the events, and when to look again (zero: when something happens).
func (w *watch) step(now time.Time, held State, changes []Change, errs []*OpError) (due []Change, events []Event, wake time.Time) {
	missing := map[string]Event{}
	for _, c := range changes {
		if !c.removes() {
			missing[c.object()] = Event{Kind: Lost, Object: c.object()}
		}
	}
	for _, err := range errs {
		missing[err.Object] = Event{Kind: Lost, Object: err.Object, Err: err}
	}
	for _, a := range held.Addresses {
		if e, ok := missing[a.object()]; ok {
			e.Address = a
			missing[a.object()] = e
		}
	}
	events = w.compare(missing)
	w.missing = missing
	w.forget(now)
	if w.policy != PutBack {
		return nil, events, time.Time{}
	}
	put := map[string]bool{}
	for _, c := range changes {
		if c.Op == AddFilter { // no address without it
			due = append(due, c)
			continue
		}
		p := w.pace(c.device())
		if !now.Before(p.next) {
			p.put(now)
			put[c.device()] = true
		}
		if put[c.device()] {
			due = append(due, c)
		}
		if wake.IsZero() || p.next.Before(wake) {
			wake = p.next
		}
	}
	return due, events, wake
}

// compare tells what has gone and come since the last step, in the order of
// the names.
func (w *watch) compare(missing map[string]Event) []Event {
	var events []Event
	for _, object := range slices.Sorted(maps.Keys(w.missing)) {
		if _, still := missing[object]; !still {
			events = append(events, Event{Kind: Back, Object: object, Address: w.missing[object].Address})
		}
	}
	for _, object := range slices.Sorted(maps.Keys(missing)) {
		before, known := w.missing[object]
		if now := missing[object]; !known || text(now.Err) != text(before.Err) && now.Err != nil {
			events = append(events, now)
		}
	}
	return events
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (w *watch) pace(device string) *pace {
	if w.paces[device] == nil {
		w.paces[device] = &pace{}
	}
	return w.paces[device]
}

// forget drops the paces of interfaces that have been calm.
func (w *watch) forget(now time.Time) {
	maps.DeleteFunc(w.paces, func(_ string, p *pace) bool { return now.Sub(p.last) > putBackCalm && !now.Before(p.next) })
}

// failures are the events for changes that could not be made.
func failures(err error) []Event {
	var events []Event
	for _, e := range flatten(err) {
		events = append(events, Event{Kind: Failed, Object: e.Object, Err: e})
	}
	return events
}

// flatten lists the OpErrors that an error joins.
func flatten(err error) []*OpError {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*OpError
		for _, e := range many.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	var one *OpError
	if errors.As(err, &one) {
		return []*OpError{one}
	}
	return nil
}

// follow rewrites a normal state for interfaces that have been renamed since it
// was applied: an address stays with its device, which the index tells. now has
// the names of the interfaces.
func follow(s State, index map[string]int, now map[int]string) State {
	name := func(old string) string {
		if name, ok := now[index[old]]; ok {
			return name
		}
		return old
	}
	s = State{slices.Clone(s.Addresses), slices.Clone(s.Tunnels), slices.Clone(s.VirtualMACs), slices.Clone(s.SuppressARP), s.NoAccept}
	for i := range s.Addresses {
		s.Addresses[i].Interface = name(s.Addresses[i].Interface)
	}
	for i := range s.SuppressARP {
		s.SuppressARP[i] = name(s.SuppressARP[i])
	}
	for i := range s.Tunnels {
		s.Tunnels[i].Name = name(s.Tunnels[i].Name)
	}
	for i := range s.VirtualMACs {
		s.VirtualMACs[i].Name, s.VirtualMACs[i].Parent = name(s.VirtualMACs[i].Name), name(s.VirtualMACs[i].Parent)
	}
	return s
}
