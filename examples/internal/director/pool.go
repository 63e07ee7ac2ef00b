package director

import (
	"fmt"
	"io"
	"time"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/ipvs"
)

// A pool is a service of the configuration with the memory of its policy.
type pool struct {
	service
	decide *health.Pool
	said   string // of it, on the last change
}

// want is the service as it should be in the table now: with the real servers that
// the policy lets serve, by the weights that it gives them. It may want something
// else at the time next, if that is not zero, though no check changes.
func (p *pool) want(now time.Time, m *health.Monitor, out io.Writer) (s ipvs.Service, next time.Time) {
	members := make([]health.Member, 0, len(p.Destinations))
	reals := make(map[string]ipvs.Destination, len(p.Destinations))
	for _, real := range p.Destinations {
		id := real.Addr.String()
		member := health.Member{ID: id, Weight: real.Weight, State: health.Up}
		if p.check != nil {
			status, _ := m.Status(checkID(p.ID, real.Addr))
			member.State, member.Change = status.State, status.Report.Weight
		}
		members, reals[id] = append(members, member), real
	}
	decision := p.decide.Decide(now, members)
	p.say(decision, out)
	s = p.Service
	s.Destinations = nil
	for _, share := range decision.Serve {
		real := reals[share.ID]
		real.Weight = share.Weight
		s.Destinations = append(s.Destinations, real)
	}
	if decision.Sorry {
		s.Destinations = append(s.Destinations, *p.sorry)
	}
	return s, decision.Next
}

// say tells when the pool as a whole has changed.
func (p *pool) say(d health.Decision, out io.Writer) {
	text := "down"
	switch {
	case d.Sorry:
		text = "down, the sorry server serves"
	case d.Open:
		text = "down, all real servers serve (fail open)"
	case d.Up:
		text = "up"
	}
	if text != p.said {
		fmt.Fprintf(out, "pool %s: %s\n", p.name(), text)
	}
	p.said = text
}

// known tells whether every real server has been found well or not.
func (p *pool) known(m *health.Monitor) bool {
	for _, real := range p.Destinations {
		if p.check == nil {
			break
		}
		if status, _ := m.Status(checkID(p.ID, real.Addr)); status.State == health.Unknown {
			return false
		}
	}
	return true
}
