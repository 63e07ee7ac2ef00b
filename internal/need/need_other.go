//go:build !linux

package need

import "testing"

// Root is never met outside Linux.
func Root(t testing.TB) { t.Helper(); missing(t, "root", "this system is not Linux") }

// IPVS is never met outside Linux.
func IPVS(t testing.TB) { t.Helper(); missing(t, "ipvs", "this system is not Linux") }

// Module is never met outside Linux.
func Module(t testing.TB, _ ...string) { t.Helper(); missing(t, "module", "this system is not Linux") }

// Kernel is never met outside Linux.
func Kernel(t testing.TB, _, _ int) { t.Helper(); missing(t, "module", "this system is not Linux") }
