package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"testing"
	"testing/synctest"
	"time"
)

type valueKey struct{}

// probeContextFor is the context of a probe with a minute to go.
func probeContextFor(parent context.Context) *probeContext {
	return &probeContext{Context: parent, deadline: time.Now().Add(time.Minute)}
}

func TestProbeContext(t *testing.T) {
	for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
		t.Run(want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := probeContextFor(context.WithValue(t.Context(), valueKey{}, "value"))
				child, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				grandchild, cancel := context.WithCancel(child)
				defer cancel()
				var called, stopped int
				context.AfterFunc(ctx, func() { called++ })
				stop := context.AfterFunc(ctx, func() { stopped++ })
				switch deadline, ok := ctx.Deadline(); {
				case !ok || time.Until(deadline) != time.Minute:
					t.Errorf("the deadline is %v, %v", deadline, ok)
				case ctx.Value(valueKey{}) != "value":
					t.Error("the values are lost")
				case !stop() || stop():
					t.Error("stop works once")
				}
				time.Sleep(2 * time.Minute)
				for n, c := range []context.Context{ctx, child, grandchild} {
					select {
					case <-c.Done():
						t.Errorf("%d is done before it is ended", n)
					default:
					}
					if c.Err() != nil {
						t.Errorf("%d has ended by itself: %v", n, c.Err())
					}
				}
				ctx.end(want)
				ctx.end(errors.New("a second end"))
				synctest.Wait()
				for n, c := range []context.Context{ctx, child, grandchild} {
					<-c.Done()
					if c.Err() != want || context.Cause(c) != want {
						t.Errorf("%d ended by %v, %v", n, c.Err(), context.Cause(c))
					}
				}
				late := make(chan struct{})
				context.AfterFunc(ctx, func() { close(late) })
				<-late
				if stop := ctx.AfterFunc(func() {}); stop() || called != 1 || stopped != 0 {
					t.Errorf("called %d times, stopped %d", called, stopped)
				}
			})
		})
	}
	ctx := probeContextFor(t.Context())
	ctx.end(context.Canceled)
	<-ctx.Done()
}

// silences is every kind of Prober that asks a server which says nothing.
func silences(t *testing.T) map[string]Prober {
	addr := serve(t, hold)
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	deaf := netip.MustParseAddrPort(c.LocalAddr().String())
	something := regexp.MustCompile(".")
	return map[string]Prober{
		"TCP":      TCP{Addr: addr, Expect: something},
		"HTTP":     HTTP{Addr: addr},
		"HTTP/2":   HTTP{Addr: addr, Version: HTTP2},
		"TLS":      TLS{Addr: addr},
		"SMTP":     SMTP{Addr: addr},
		"GRPC":     GRPC{Addr: addr},
		"UDP":      UDP{Addr: deaf, Reply: true},
		"DNS":      DNS{Addr: deaf},
		"DNS, TCP": DNS{Addr: addr, TCP: true},
		"all":      All(TCP{Addr: addr}, TCP{Addr: addr, Expect: something}),
		"dialer":   greeting{addr: addr.String()},
		"http": ProberFunc(func(ctx context.Context) (Report, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String(), nil)
			if err != nil {
				return Report{}, err
			}
			answer, err := http.DefaultClient.Do(r)
			if err == nil {
				answer.Body.Close()
			}
			return Report{}, err
		}),
		"derived": ProberFunc(func(ctx context.Context) (Report, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return TCP{Addr: addr, Expect: something}.Probe(ctx)
		}),
	}
}

// Every Prober ends when the Monitor says so, and when a context does that knows it by
// itself.
func TestProbersEndWithTheirContext(t *testing.T) {
	const timeout = 300 * time.Millisecond
	probers := silences(t)
	w := start(t, Config{})
	for name, p := range probers {
		w.set(name, Check{Prober: p, Timeout: timeout})
	}
	for name, p := range probers {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			began := time.Now()
			if _, err := p.Probe(ctx); errors.Is(err, ErrInconclusive) || !isTimeout(err) || time.Since(began) > 10*timeout {
				t.Errorf("by itself, after %v: %v", time.Since(began), err)
			}
			s, _ := w.Status(name)
			for patience := time.Now().Add(10 * time.Second); s.State == Unknown && time.Now().Before(patience); s, _ = w.Status(name) {
				time.Sleep(10 * time.Millisecond)
			}
			if s.State != Down || !isTimeout(s.Err) || s.Duration < timeout || s.Duration > 10*timeout {
				t.Errorf("by the Monitor: %+v", s)
			}
		})
	}
}
