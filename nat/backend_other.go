//go:build !linux

package nat

import "errors"

func openBackend(Config) (backend, error) { return nil, errors.ErrUnsupported }
