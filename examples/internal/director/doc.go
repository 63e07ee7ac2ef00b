// Package director is examples/director: here, so that examples/quickstart has
// the director in its own binary and needs nothing but itself.
//
// # How it flows
//
// file.go is the configuration as written, read by strict.go; config.go, check.go
// and kinds.go translate it into the words of the packages. dataplane.go chooses
// what forwards the connections, kernel.go or engine.go. director.go puts the
// packages together: serve.go keeps the table as pool.go and drain.go want it,
// hold.go the addresses, pair.go the other director up to date.
package director
