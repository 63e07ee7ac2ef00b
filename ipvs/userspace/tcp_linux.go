package userspace

import "errors"

func (ws *workers) listenTCP(s *service) (front, error) { return nil, errors.ErrUnsupported }
