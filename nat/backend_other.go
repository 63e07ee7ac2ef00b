//go:build !linux

package nat

import "errors"

func openBackend(Config) (b backend, mixed, err error) { return nil, nil, errors.ErrUnsupported }
