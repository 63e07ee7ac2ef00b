package userspace

import (
	"errors"
	"fmt"

	"github.com/lvskit/lvskit/ipvs"
)

// listen opens the sockets of a service.
func (ws *workers) listen(s *service) (front, error) {
	switch {
	case s.ID.FWMark != 0 || s.ID.Addr.Port() == 0:
	case s.ID.Protocol == ipvs.TCP:
		return ws.listenTCP(s)
	case s.ID.Protocol == ipvs.UDP:
		return ws.listenUDP(s)
	}
	return nil, fmt.Errorf("%s: %w", s.ID, errors.ErrUnsupported)
}
