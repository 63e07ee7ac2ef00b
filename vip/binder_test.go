package vip_test

import (
	"github.com/lvskit/lvskit/vip"
	"github.com/lvskit/lvskit/vrrp"
)

// What holds the addresses of a VRRP router.
var (
	_ vrrp.Binder = (*vip.Manager)(nil)
	_ vrrp.Binder = (*vip.Set)(nil)
)
