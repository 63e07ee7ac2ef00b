// Package netns runs functions in a network namespace given by a path.
//
// A network namespace belongs to an operating system thread, not to a
// goroutine. Do therefore moves a thread of its own, which ends with the
// function: what the function opens (a socket, a descriptor of /proc) stays in
// the namespace, what it starts (a goroutine) does not.
//
// How it flows: netns_linux.go has Do and New on top of Go, which is the thread;
// netns_other.go answers errors.ErrUnsupported.
package netns
