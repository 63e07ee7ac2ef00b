package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func init() { children["http server"] = serveHTTP }

// serveHTTP says where it listens, and serves a small page.
func serveHTTP() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Addr())
	fmt.Println(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })))
}

// BenchmarkHTTP is a probe of a server in another process over the loopback, a new
// connection each; cpu-ns/op is the processor time of this process alone.
func BenchmarkHTTP(b *testing.B) {
	addr := child(b, "http server")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	probe := HTTP{Addr: addr, Reset: true}
	for _, way := range []struct {
		name string
		ask  func(context.Context) error
	}{
		{"HTTP", func(ctx context.Context) error {
			_, err := probe.Probe(ctx)
			return err
		}},
		{"net/http", func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/", nil)
			if err != nil {
				return err
			}
			answer, err := client.Do(request)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			_, err = io.Copy(io.Discard, answer.Body)
			return err
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				if err := way.ask(ctx); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}
