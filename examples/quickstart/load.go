package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// timeout is how long a request may take. A packet that opens a connection and
// is lost would be sent again after a second: so each one counts.
const timeout = time.Second

// load sends requests to the virtual address, as many clients would: each over
// a connection of its own, whether or not the ones before have been answered.
type load struct {
	journal *journal
	rate    int // a second
	client  *http.Client
}

func newLoad(from *lab.Host, rate int, j *journal) *load {
	// A Transport goes on dialing for a request that has been given up.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return from.Dial(ctx, network, addr)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &load{journal: j, rate: rate, client: &http.Client{Transport: transport}}
}

// run sends until ctx ends, and waits for the answers that are under way.
func (l *load) run(ctx context.Context) {
	var requests sync.WaitGroup
	defer requests.Wait()
	interval := time.Second / time.Duration(l.rate)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now()
			l.journal.stall(now.Sub(last) - interval)
			last = now
			start := l.journal.sent()
			requests.Go(func() {
				server, err := l.get(context.WithoutCancel(ctx))
				l.journal.done(start, server, err)
			})
		}
	}
}

// get asks the virtual address which server answers.
func (l *load) get(ctx context.Context) (server string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	url := "http://" + netip.AddrPortFrom(virtual, port).String() + "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(string(body))
	for _, w := range webs {
		if name == w.name {
			return name, nil
		}
	}
	return "", fmt.Errorf("an answer that is none: status %s, %q", resp.Status, name)
}

// cause is why a request was lost, in few words.
func cause(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer within " + timeout.String()
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no host has the address"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed without an answer"
	}
	return err.Error()
}
