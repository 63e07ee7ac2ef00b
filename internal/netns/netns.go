// Package netns runs functions in a network namespace given by a path.
//
// A network namespace belongs to an operating system thread, not to a
// goroutine. Do therefore moves a thread of its own, and only for as long as
// the function runs: what the function opens (a socket, a descriptor of /proc)
// stays in the namespace, what it starts (a goroutine) does not.
//
// How it flows: netns_linux.go has Do and New; netns_other.go answers
// errors.ErrUnsupported.
package netns
