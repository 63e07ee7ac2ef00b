// Package tabletest says what every ipvs.Table does, as tests: the kernel's
// (*ipvs.Client, in a machine with ip_vs) and the one without it
// (*userspace.Engine) pass the same.
//
//	func TestTable(t *testing.T) {
//		tabletest.Run(t, func(t *testing.T) ipvs.Table { return anEmptyTable(t) })
//	}
//
// # How it flows
//
// tabletest.go runs the tests of a list, each with an empty table of its own in
// a fixture, which has the comparisons. service.go, destination.go, apply.go and
// whole.go have the tests, by what they are about; values.go what they set.
package tabletest
