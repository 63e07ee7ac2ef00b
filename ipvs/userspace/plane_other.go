//go:build !linux

package userspace

import "errors"

func newPlane(*Engine) (plane, error) {
	return nil, errOnlyLinux
}

var errOnlyLinux = errors.Join(errors.New("connections are forwarded on Linux only: set Config.TableOnly"), errors.ErrUnsupported)
