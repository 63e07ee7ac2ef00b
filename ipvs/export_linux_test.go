package ipvs

import "testing"

// KernelTable is a client in an empty table of its own, for the tests of package
// tabletest, which imports this one.
func KernelTable(t testing.TB) *Client {
	c, _ := kernel(t)
	return c
}
