//go:build !linux

package userspace

import "context"

// predecessor is what there is on Linux only.
type predecessor struct{}

func (*predecessor) close() {}

func (*Engine) inherit() error { return nil }

func (e *Engine) runPlane(ctx context.Context) error { return e.plane.run(ctx) }
