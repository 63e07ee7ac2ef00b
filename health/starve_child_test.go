package health

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// sentry is what the child process of the starvation tests has seen.
type sentry struct {
	Passed, Failed, Inconclusive int // probes of what is alive
	Down                         int // changes of what is alive
	Dead                         int // of what is dead, found to be dead in the end
}

// greeting is a Prober that connects, says something and waits for the echo, without
// any art: when its deadline has passed it fails. The others are TCP.
type greeting struct {
	addr string
	work time.Duration // of the processor, before it begins
}

func (g greeting) Probe(ctx context.Context) (Report, error) {
	for began := time.Now(); time.Since(began) < g.work; {
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", g.addr)
	if err != nil {
		return Report{}, err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return Report{}, err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return Report{}, err
}

// silent is how many checks sentryMain has of a server that says nothing.
const silent = 10

// sentryMain probes what is alive with many checks, for as long as it is told, and longer
// if what is silent has not been found to be dead by then. It prints what it has seen.
// The silent checks, and burning goroutines, come when the others have begun.
func sentryMain() {
	var downs atomic.Int64
	number := func(name string) int { n, _ := strconv.Atoi(os.Getenv(name)); return n }
	span := time.Duration(number("HEALTH_TEST_SPAN"))
	m, err := New(Config{OnChange: func(c Change) {
		if c.To != Up && !strings.HasPrefix(c.ID, "dead") {
			downs.Add(1)
		}
	}})
	if err != nil {
		panic(err)
	}
	work := time.Duration(number("HEALTH_TEST_WORK"))
	hello := regexp.MustCompile("hello")
	set := func(name string, n int, addr string) {
		var prober Prober = greeting{addr, work}
		if n%2 == 1 && work == 0 {
			prober = TCP{Addr: netip.MustParseAddrPort(addr), Send: "hello\n", Expect: hello, Reset: true}
		}
		err := m.Set(fmt.Sprint(name, n), Check{
			Prober: prober, Interval: 500 * time.Millisecond, Initial: Up, Fall: 1,
			Timeout: time.Duration(number("HEALTH_TEST_TIMEOUT")), RetryInterval: 200 * time.Millisecond, MaxAge: time.Hour,
		})
		if err != nil {
			panic(err)
		}
	}
	for n := range number("HEALTH_TEST_CHECKS") {
		set("", n, os.Getenv("HEALTH_TEST_ADDR"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	time.Sleep(time.Second)
	for n := range silent {
		set("dead", n, os.Getenv("HEALTH_TEST_DEAD"))
	}
	fmt.Println("ready")
	for range number("HEALTH_TEST_BURN") {
		go burn(ctx)
	}
	time.Sleep(span)
	s := look(m)
	for patience := time.Now().Add(time.Minute * time.Duration(number("HEALTH_TEST_DEAD_TOO"))); s.Dead < silent && time.Now().Before(patience); time.Sleep(100 * time.Millisecond) {
		s = look(m)
	}
	s.Down = int(downs.Load())
	cancel()
	<-done
	_ = json.NewEncoder(os.Stdout).Encode(s)
}

// look counts what the Monitor knows.
func look(m *Monitor) (s sentry) {
	for id, status := range m.Snapshot() {
		switch {
		case !strings.HasPrefix(id, "dead"):
			s.Passed += int(status.Stats.Passed)
			s.Failed += int(status.Stats.Failed)
			s.Inconclusive += int(status.Stats.Inconclusive)
		case status.State == Down:
			s.Dead++
		}
	}
	return s
}

// burn takes a processor.
func burn(ctx context.Context) {
	for n := 0; ctx.Err() == nil; {
		for range 1_000_000 {
			n++
		}
	}
}
