package director

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/health/healthprom"
	"github.com/lvskit/lvskit/ipvs/ipvsprom"
	"github.com/lvskit/lvskit/vrrp/vrrpprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// expose serves what the packages measure at /metrics, until ctx ends.
func (d *director) expose(ctx context.Context) error {
	if d.metrics == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := d.listen(ctx)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if listener == nil { // ctx has ended
		return nil
	}
	fmt.Fprintf(d.out, "metrics http://%s/metrics\n", listener.Addr())
	registry := prometheus.NewRegistry()
	collectors := []prometheus.Collector{healthprom.NewCollector(d.monitor), ipvsprom.NewCollector(d.table)}
	if d.router != nil {
		collectors = append(collectors, vrrpprom.NewCollector(d.router))
	}
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen waits for a predecessor that serves at the same address.
func (d *director) listen(ctx context.Context) (net.Listener, error) {
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.metrics)
		if !errors.Is(err, syscall.EADDRINUSE) || !d.table.inherited() {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(waiting):
		}
	}
}
