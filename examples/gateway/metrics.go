package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lvskit/lvskit/nat/natprom"
)

// listen takes the address of the metrics, if there is one, before anything is
// changed.
func (g *gateway) listen(ctx context.Context) (err error) {
	if g.metrics == "" {
		return nil
	}
	if g.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", g.metrics); err != nil {
		return fmt.Errorf("-metrics: %w", err)
	}
	return nil
}

// expose serves what the rules count at /metrics, until ctx ends.
func (g *gateway) expose(ctx context.Context) error {
	if g.listener == nil {
		<-ctx.Done()
		return nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(natprom.NewCollector(g.table)); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(g.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
