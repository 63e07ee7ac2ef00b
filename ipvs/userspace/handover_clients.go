package userspace

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// clientsMost is how many clients that services remember (persistence) go over
// to a successor. Any others are remembered no more.
const clientsMost = 500_000

// clientLongest is the longest that a client can be remembered (ipvs.Persistence).
const clientLongest = 31 * 24 * time.Hour

// estateClient is a client, or a network of them, that a service remembers.
type estateClient struct {
	Client      netip.Addr    // the first address of its network
	Destination int           // index in Service.Destinations
	Left        time.Duration // for which it is remembered yet
}

func (c estateClient) check(s *ipvs.Service) error {
	if !c.Client.IsValid() || c.Destination < 0 || c.Destination >= len(s.Destinations) || c.Left < 0 || c.Left > clientLongest {
		return fmt.Errorf("a table with a client %s of real server %d of %s for %v", c.Client, c.Destination, s.ID, c.Left)
	}
	return nil
}

// clients are those that a service remembers, at most so many. Engine.mu is held.
func (s *service) clients(now time.Duration, most int) (all []estateClient) {
	s.templates.expire(now)
	index := make(map[*destination]int, len(s.dests))
	for i, d := range s.dests {
		index[d] = i
	}
	all = make([]estateClient, 0, min(len(s.templates.byKey), most))
	for key, t := range s.templates.byKey {
		if len(all) == most {
			break
		}
		left := max(t.expires-now, 0)
		if t.controls > 0 { // its connections end here, where nobody tells the successor
			left = max(left, t.timeout)
		}
		if i, ok := index[t.dest]; ok && key.callID == "" {
			all = append(all, estateClient{key.client, i, left})
		}
	}
	return all
}

// remember has a service remember clients of an estate, but for what it has
// learnt itself since. Engine.mu is held.
func (s *service) remember(one *estateService, now time.Duration) {
	if s.Persistence.Timeout == 0 {
		return
	}
	for _, c := range one.Clients {
		key := templateKey{client: c.Client}
		t := s.templates.find(key)
		if t == nil {
			d := s.find(one.Service.Destinations[c.Destination].Addr)
			if d == nil {
				continue
			}
			t = s.templates.add(key, d, c.Left)
			s.templates.renew(t, now)
			t.timeout = s.Persistence.Timeout
		}
		t.expires = max(t.expires, now+c.Left)
	}
}
