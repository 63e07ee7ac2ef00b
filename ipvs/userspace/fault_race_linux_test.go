//go:build race

package userspace

// bytesMost bounds the memory of an idle connection, with what the race detector
// keeps of it.
const bytesMost = 16 << 10
