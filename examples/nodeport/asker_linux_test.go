package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// asker is a client who asks for the published page again and again, each time
// by a new connection.
type asker struct {
	*testing.T
	host *lab.Host
	url  string

	mu    sync.Mutex // guards all below
	pages map[string]int
	last  time.Time     // of an answer
	gap   time.Duration // the longest without
	err   error         // of the last request, nil if it was answered
}

func newAsker(r *rig) *asker {
	a := &asker{T: r.T, host: r.client, url: "http://" + published + "/", pages: map[string]int{}, last: time.Now()}
	task := r.client.Go(func(ctx context.Context) error {
		for ctx.Err() == nil {
			page, err := a.get(ctx)
			a.took(page, err)
			time.Sleep(10 * time.Millisecond * patience())
		}
		return nil
	})
	r.Cleanup(func() { task.Stop() })
	return a
}

func (a *asker) get(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond*patience())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, http.NoBody)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DialContext: a.host.Dial, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	return string(page), err
}

func (a *asker) took(page string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err = err; err != nil {
		return
	}
	now := time.Now()
	a.gap, a.last = max(a.gap, now.Sub(a.last)), now
	a.pages[page]++
}

// fresh forgets what was.
func (a *asker) fresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.pages)
	a.gap, a.last = 0, time.Now()
}

// answers is how often each page has come since.
func (a *asker) answers(page string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pages[page]
}

// longest is the longest time without an answer since.
func (a *asker) longest() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.gap, time.Since(a.last))
}

// goesOn does something, waits until it has had its effect, and until both nodes have
// answered after that. The longest time without an answer must be within bound.
func (a *asker) goesOn(r *rig, what string, bound time.Duration, do func(), effect func() bool) {
	a.Helper()
	a.fresh()
	do()
	took := r.until(what, effect)
	first, second := a.answers(r.node01.page), a.answers(r.node02.page)
	r.until(what+", and both nodes answer", func() bool { return a.answers(r.node01.page) > first && a.answers(r.node02.page) > second })
	gap := a.longest()
	a.Logf("%s: after %v, no answer for %v, bound %v", what, took.Round(time.Millisecond), gap.Round(time.Millisecond), bound)
	if gap > bound+room() {
		a.Errorf("%s: the client had no answer for %v, the bound is %v", what, gap, bound)
	}
}

// outsideOnly wants that all IPv4 packets are between these addresses of the outside.
func outsideOnly(t *testing.T, frames []lab.Frame) {
	t.Helper()
	outside, packets := netip.MustParsePrefix("12.0.0.0/24"), 0
	for _, f := range frames {
		if len(f.Data) < 34 || f.Data[12] != 8 || f.Data[13] != 0 {
			continue
		}
		packets++
		for _, at := range []int{26, 30} {
			if a := netip.AddrFrom4([4]byte(f.Data[at : at+4])); !outside.Contains(a) {
				t.Fatalf("the client sees %v", fmt.Sprint(a))
			}
		}
	}
	if packets == 0 {
		t.Error("no packet was seen")
	}
}
