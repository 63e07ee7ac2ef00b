package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// pause is how long the story rests between two events.
const pause = 3 * time.Second

// scenario is the story: all is well, a server dies, a director dies, both
// come back.
type scenario struct {
	*cluster
	*journal
	observer *observer
	result   result
}

// demonstrate builds the cluster, plays the story (or holds the cluster up),
// and takes all of it away again.
func demonstrate(ctx context.Context, cfg config, plane dataplane, out *os.File) (res result, err error) {
	dir, err := os.MkdirTemp("", tempPrefix)
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir)
	l, err := lab.New(lab.Config{})
	if err != nil {
		return res, err
	}
	defer l.Close()
	c, err := newCluster(l, plane, dir, cfg.interval)
	if err != nil {
		return res, err
	}
	fmt.Fprint(out, picture(plane, width(out)))
	if err := c.start(ctx); err != nil {
		return res, orInterrupted(ctx, err)
	}
	o, err := newObserver(c)
	if err != nil {
		return res, err
	}
	defer o.close()
	s := &scenario{cluster: c, observer: o}
	if err := s.underLoad(ctx, cfg, out); err != nil {
		return res, orInterrupted(ctx, err)
	}
	return s.sum(cfg), nil
}

// underLoad plays the story while the load runs and the timeline is drawn.
func (s *scenario) underLoad(ctx context.Context, cfg config, out *os.File) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var observing, loading, drawing sync.WaitGroup
	observing.Go(func() { s.observer.run(inner) })
	defer observing.Wait()
	defer cancel()
	if err := s.await(ctx, "director1 is Active and has all web servers in its pool", s.whole); err != nil {
		return err
	}
	if cfg.hold {
		fmt.Fprint(out, s.hints())
	}
	begin := time.Now()
	s.journal = newJournal(func() time.Duration { return time.Since(begin) })
	loadCtx, endLoad := context.WithCancel(inner)
	loading.Go(func() { newLoad(s.hosts["client"], cfg.rate, s.journal).run(loadCtx) })
	drawCtx, endDraw := context.WithCancel(inner)
	drawing.Go(func() { newScreen(out, s.journal, s.observer.now).run(drawCtx) })
	play := s.play
	if cfg.hold {
		play = s.hold
	}
	err := play(ctx)
	endLoad()
	loading.Wait() // the timeline shows the last answers, too
	endDraw()
	drawing.Wait()
	return err
}

func (s *scenario) play(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.allIsWell, s.serverDies, s.directorDies, s.bothReturn} {
		if err := part(ctx); err != nil {
			return err
		}
		if err := rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func rest(ctx context.Context) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// hold lets the person at the keyboard write the story.
func (s *scenario) hold(ctx context.Context) error {
	s.begin("held", "you may have killed something", "the cluster is yours; Ctrl-C ends it")
	<-ctx.Done()
	return nil
}

func (s *scenario) allIsWell(ctx context.Context) error {
	s.begin("all is well", "", "the client begins to send")
	s.expectAnswer()
	return s.await(ctx, "a request is answered", s.answered)
}

// serverDies pulls the cable of a web server: whoever asks it waits in vain.
func (s *scenario) serverDies(ctx context.Context) error {
	const dead = "web2"
	died := s.begin(dead+" is dead, and not yet found out", "what the director sends to "+dead+" finds nobody",
		dead+" dies: its cable is pulled out")
	if err := s.cables[dead].Down(); err != nil {
		return err
	}
	err := s.await(ctx, dead+" is out of the pool", func() bool {
		v := s.observer.now()
		return v.active != "" && !slices.Contains(v.pool, dead)
	})
	if err != nil {
		return err
	}
	out := s.clock() - died
	s.result.ServerOutMS = ms(out)
	s.begin("two servers are left", "", fmt.Sprintf("%s is out of the pool after %s", dead, short(out)))
	return s.await(ctx, dead+" is out of the pool of the other director, too", func() bool {
		return !slices.ContainsFunc(directors, func(d machine) bool {
			pool, ok := s.observer.read(ctx, d.name)
			return !ok || slices.Contains(pool, dead)
		})
	})
}

// directorDies takes the power of the Active director.
func (s *scenario) directorDies(ctx context.Context) error {
	dead := s.observer.now().active
	if dead == "" {
		return fmt.Errorf("no director is Active, though nothing has happened to them\n%s", s.outputs())
	}
	s.begin("no director is Active", s.plane.takeOver,
		dead+" dies: its program is killed (SIGKILL) and its cable pulled out")
	died, at := time.Now(), s.clock()
	if err := s.powerOff(dead); err != nil {
		return err
	}
	s.expectAnswer()
	err := s.await(ctx, "the other director is Active and requests are answered", func() bool {
		v := s.observer.now()
		return v.active != "" && v.active != dead && s.answered()
	})
	if err != nil {
		return err
	}
	answered, _ := s.firstAnswer()
	last, first, ok := s.observer.takeOver(dead)
	if !ok {
		return fmt.Errorf("no advertisement was heard of another director than %s\n%s", dead, s.outputs())
	}
	s.result.TakeoverMS, s.result.SilenceMS, s.result.OutageMS = ms(first.at.Sub(died)), ms(first.at.Sub(last.at)), ms(answered-at)
	s.begin(first.from+" is alone", "",
		fmt.Sprintf("%s has the address; requests are answered again after %s", first.from, short(answered-at)))
	return nil
}

func (s *scenario) bothReturn(ctx context.Context) error {
	s.begin("both return", s.plane.moveBack,
		"web2 gets its cable back, director1 its power")
	if err := s.cables["web2"].Up(); err != nil {
		return err
	}
	if err := s.powerOn(ctx, directors[0]); err != nil {
		return err
	}
	if err := s.await(ctx, "director1 is Active again and has all web servers in its pool", s.whole); err != nil {
		return err
	}
	s.expectAnswer()
	if err := s.await(ctx, "a request is answered", s.answered); err != nil {
		return err
	}
	s.begin("all is well again", "", "director1 is Active again, the pool is whole")
	return nil
}

// whole tells whether the cluster is as it should be.
func (s *scenario) whole() bool {
	v := s.observer.now()
	return v.active == directors[0].name && len(v.pool) == len(webs)
}

// answered tells whether a request that was sent since expectAnswer was answered.
func (s *scenario) answered() bool {
	_, ok := s.firstAnswer()
	return ok
}

// await waits for what must come true, and says what that was if it does not.
func (s *scenario) await(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			v := s.observer.now()
			return fmt.Errorf("waited in vain, at most %v, until %s: now %s is Active and the pool is %v: %w\n%s",
				patience, what, orNobody(v.active), v.pool, ctx.Err(), s.outputs())
		case <-tick.C:
		}
	}
	return nil
}

// outputs is what the directors have written.
func (s *scenario) outputs() string {
	var text strings.Builder
	for _, d := range directors {
		if p := s.running[d.name]; p != nil {
			_, _ = io.WriteString(&text, "-- "+d.name+"\n"+p.Output())
		}
	}
	return text.String()
}

// orInterrupted is the error of a run that a signal has ended.
func orInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}
