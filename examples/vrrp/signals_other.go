//go:build !unix

package main

import (
	"context"

	"github.com/lvskit/lvskit/vrrp"
)

// signals does nothing on a system without SIGUSR1 and SIGUSR2.
func signals(context.Context, *vrrp.Router, config) error { return nil }
