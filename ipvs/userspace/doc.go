// Package userspace is IPVS without the kernel: a table of virtual services
// that forwards their TCP and UDP connections itself.
//
// # How it flows
//
// To be written.
package userspace
