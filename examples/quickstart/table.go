package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// table is that of a director, read from outside.
type table interface {
	// read lists the web servers that get requests; false if it is not there.
	read(ctx context.Context) (pool []string, ok bool)
	Close() error
}

// ipvsTable is in the kernel of the director's machine, whether or not the
// director lives.
type ipvsTable struct{ *ipvs.Client }

func kernelTable(c *cluster, director string) (table, error) {
	client, err := ipvs.Open(ipvs.Config{NetNS: c.hosts[director].Path()})
	if err != nil {
		return nil, err
	}
	return ipvsTable{client}, nil
}

func (t ipvsTable) read(ctx context.Context) (pool []string, ok bool) {
	s, err := t.Service(ctx, ipvs.ServiceID{Protocol: ipvs.TCP, Addr: netip.AddrPortFrom(virtual, port)})
	if err != nil {
		return nil, false // it is not there yet, or not any more
	}
	for _, w := range webs {
		if slices.ContainsFunc(s.Destinations, func(d ipvs.DestinationStatus) bool {
			return d.Addr.Addr() == w.addr && d.Weight > 0
		}) {
			pool = append(pool, w.name)
		}
	}
	return pool, true
}

// metricsAddress is where a director shows its table to those on its machine.
const metricsAddress = "127.0.0.1:9100"

// scraped is in the director, which tells of it by its metrics.
type scraped struct{ client *http.Client }

func metricsTable(c *cluster, director string) (table, error) {
	transport := &http.Transport{DialContext: c.hosts[director].Dial}
	return scraped{&http.Client{Transport: transport, Timeout: time.Second}}, nil
}

func (s scraped) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s scraped) read(ctx context.Context) (pool []string, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAddress+"/metrics", nil)
	if err != nil {
		return nil, false
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	weights := map[string]bool{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		for _, w := range webs {
			if serves(lines.Text(), w) {
				weights[w.name] = true
			}
		}
	}
	for _, w := range webs {
		if weights[w.name] {
			pool = append(pool, w.name)
		}
	}
	return pool, lines.Err() == nil && resp.StatusCode == http.StatusOK
}

// serves tells whether this line of the metrics gives a web server a weight.
func serves(line string, w machine) bool {
	return strings.HasPrefix(line, "lvskit_ipvs_destination_weight{") && !strings.HasSuffix(line, " 0") &&
		strings.Contains(line, fmt.Sprintf("remote_address=%q", w.addr))
}
