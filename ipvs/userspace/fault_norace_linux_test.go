//go:build !race

package userspace

// bytesMost bounds the memory of an idle connection.
const bytesMost = 2 << 10
