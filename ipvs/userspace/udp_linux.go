package userspace

import "errors"

func (ws *workers) listenUDP(s *service) (front, error) { return nil, errors.ErrUnsupported }
